// The metrics, scraped from a real slotgate: they say what has happened, as text that Prometheus takes.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { freePorts } from '../../src/slots/free-ports.ts'
import { attributesOf, spansOf, startCollector } from '../support/collector.ts'
import { HOST, PREVIEW, see } from '../support/previews.ts'
import { World } from '../support/world.ts'

const root = join(import.meta.dirname, '..', '..')

const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0
const skip =
  has('prometheus') && has('promtool') ? false : 'needs prometheus and promtool (Debian: prometheus)'

const BLUE = 'service="invoices",slot="blue",release="r42"'
const GREEN = 'service="invoices",slot="green",release="r43"'

const metricsUrl = ({ doors }: World): string => `http://127.0.0.1:${doors.metrics?.port}/metrics`

/** By their name and labels, as they stand in the text. */
type Samples = ReadonlyMap<string, number>

function samplesOf(text: string): Samples {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

async function scrape(world: World): Promise<Samples> {
  const { statusCode, body } = await request(metricsUrl(world))
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`${statusCode} ${text}`)
  return samplesOf(text)
}

/** Whatever slot it was in, and whatever came of it. */
function requestsOf(samples: Samples, release: string): number {
  const its = [...samples].filter(
    ([series]) => series.startsWith('slotgate_requests_total{') && series.includes(`release="${release}"`),
  )
  return its.reduce((sum, [, value]) => sum + value, 0)
}

/** r42 is live, and r43 is staged, which needs the schema 43. */
async function start(t: Test, threads = 1): Promise<World> {
  const world = await World.create(t)
  world.settings = [`threads: ${threads}`, 'metrics: { listen: "127.0.0.1:0" }']
  world.service = PREVIEW
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', { min: 43, max: 43 })
  await world.start(t)
  t.match(await world.deploy('r42'), { status: 200 })
  t.match(await world.stage('r43'), { status: 200 })
  return world
}

/** Once what was asked for last is counted: its client has the answer a moment before. */
const counted = (world: World, series: string, value: number): Promise<Samples> =>
  world.until(async () => {
    const samples = await scrape(world)
    return samples.get(series) === value && samples
  }, `${series} is ${value}`)

function sameValues(t: Test, samples: Samples, expected: Record<string, number | undefined>): void {
  t.same(Object.fromEntries(Object.keys(expected).map((series) => [series, samples.get(series)])), expected)
}

for (const threads of [0, 2]) {
  t.test(`with ${threads} threads, requests, slots, schemas and verdicts are told as they are`, async (t) => {
    const world = await start(t, threads)
    for (let count = 0; count < 20; count++) await world.get()
    await world.get('/answer?status=500')
    await see(world, { host: HOST })
    t.match(await world.promote(), { status: 422 })
    const samples = await counted(world, `slotgate_requests_total{${BLUE},code="200"}`, 20)
    sameValues(t, samples, {
      [`slotgate_requests_total{${BLUE},code="500"}`]: 1,
      [`slotgate_request_duration_seconds_count{${BLUE}}`]: 21,
      [`slotgate_request_duration_seconds_bucket{${BLUE},le="60"}`]: 21,
      [`slotgate_upstream_duration_seconds_count{${BLUE}}`]: 21,
      'slotgate_preview_requests_total{service="invoices",code="200"}': 1,
      [`slotgate_claims{${BLUE},kind="requests"}`]: 0,
      [`slotgate_slot_live{${BLUE}}`]: 1,
      [`slotgate_slot_live{${GREEN}}`]: 0,
      [`slotgate_slot_healthy{${GREEN}}`]: 1,
      'slotgate_generation{service="invoices"}': 1,
      'slotgate_schema_version{service="invoices"}': 42,
      [`slotgate_schema_min_version{${BLUE}}`]: 41,
      [`slotgate_schema_max_version{${GREEN}}`]: 43,
      'slotgate_door_open{service="invoices"}': 0,
      'slotgate_gate_verdicts_total{service="invoices",operation="deploy",code="allowed"}': 1,
      'slotgate_gate_verdicts_total{service="invoices",operation="promote",code="schema_behind_code"}': 1,
      'slotgate_operation_duration_seconds_count{service="invoices",operation="promote",state="failed"}': 1,
      'slotgate_flip_duration_seconds_count{service="invoices"}': 1,
      'slotgate_worker_restarts_total{worker="0"}': 0,
    })
  })
}

t.test('after a switch both releases are told, and the former one keeps what it had', async (t) => {
  const world = await start(t)
  await world.get()
  await world.migrate(43)
  t.match(await world.promote(), { status: 200 })
  await world.get()
  const drained = 'slotgate_drain_duration_seconds_count{service="invoices"}'
  await counted(world, drained, 1)
  const samples = await counted(world, `slotgate_requests_total{${GREEN},code="200"}`, 1)
  sameValues(t, samples, {
    [`slotgate_requests_total{${BLUE},code="200"}`]: 1,
    [`slotgate_slot_live{${BLUE}}`]: 0,
    [`slotgate_slot_live{${GREEN}}`]: 1,
    'slotgate_generation{service="invoices"}': 2,
    'slotgate_schema_version{service="invoices"}': 43,
    'slotgate_door_open{service="invoices"}': 1,
    'slotgate_drain_cut_total{service="invoices",kind="requests"}': 0,
    'slotgate_paused{service="invoices"}': 0,
  })
  const flipped = samples.get('slotgate_last_flip_timestamp_seconds{service="invoices"}') ?? 0
  t.ok(Math.abs(Date.now() / 1_000 - flipped) < 60)
})

t.test(
  'each request is told once, for the release that answered it, over threads and switches',
  async (t) => {
    const world = await World.create(t)
    world.settings = ['threads: 2', 'metrics: { listen: "127.0.0.1:0" }']
    for (const release of ['r1', 'r2']) await world.addRelease(release, { min: 41, max: 43 })
    await world.start(t)
    const answered = new Map<string, number>()
    let isOver = false
    const ask = async () => {
      while (!isOver) {
        const { status, release = '' } = await world.get()
        const key = `${release} ${status}`
        answered.set(key, (answered.get(key) ?? 0) + 1)
        await pause(5)
      }
    }
    t.match(await world.deploy('r1'), { status: 200 })
    const asking = Promise.all(Array.from({ length: 4 }, ask))
    for (const release of ['r2', 'r1', 'r2']) t.match(await world.deploy(release), { status: 200 })
    isOver = true
    await asking
    for (const release of ['r1', 'r2']) {
      const count = answered.get(`${release} 200`) ?? 0
      t.ok(count > 0)
      await world.until(
        async () => requestsOf(await scrape(world), release) === count,
        `${count} of ${release}`,
      )
    }
    t.same([...answered.keys()].toSorted(), ['r1 200', 'r2 200'])
  },
)

t.test('what waits for the first release is told', async (t) => {
  const world = await World.create(t)
  world.settings = ['threads: 0', 'metrics: { listen: "127.0.0.1:0" }']
  world.service = ['hold: { nothing_live: on }']
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  const waiting = [world.get(), world.get()]
  const held = 'slotgate_held_requests{service="invoices"}'
  sameValues(t, await counted(world, held, 2), { 'slotgate_paused{service="invoices"}': 0 })
  t.match(await world.deploy('r42'), { status: 200 })
  t.match(await Promise.all(waiting), [{ release: 'r42' }, { release: 'r42' }])
  t.equal((await scrape(world)).get(held), 0)
})

t.test('errors are told by their cause, also of what reached no service', async (t) => {
  const world = await start(t)
  await world.get('/die')
  await request(world.url, { method: 'TRACE', reset: true })
  const failed = `slotgate_errors_total{${BLUE},cause="upstream_failed",blame="app"}`
  const samples = await counted(world, failed, 1)
  sameValues(t, samples, {
    [`slotgate_requests_total{${BLUE},code="502"}`]: 1,
    'slotgate_errors_total{cause="method_not_relayed",blame="client"}': 1,
    'slotgate_requests_total{code="405"}': 1,
  })
})

t.test('the spans of requests reach the collector, and are counted', async (t) => {
  const collector = await startCollector(t)
  const world = await World.create(t)
  world.settings = [
    'threads: 1',
    'metrics: { listen: "127.0.0.1:0" }',
    `tracing: { endpoint: "${collector.url}", sample: on }`,
  ]
  await world.addRelease('r42', { min: 41, max: 43 })
  const close = await world.start(t)
  t.match(await world.deploy('r42'), { status: 200 })
  await world.get('/first')
  await collector.asked
  await counted(world, 'slotgate_spans_total{outcome="exported"}', 1)
  await world.get('/last')
  await close()
  const paths = spansOf(collector).map((span) => attributesOf(span)['url.path'])
  t.same(paths, ['/first', '/last'], 'what waits is sent before the end')
  await world.start(t)
  const flipped = (await scrape(world)).get('slotgate_last_flip_timestamp_seconds{service="invoices"}') ?? 0
  t.ok(Math.abs(Date.now() / 1_000 - flipped) < 60, 'and a start is no reason to forget the last flip')
})

t.test('who may ask, and how, gets what Prometheus takes', async (t) => {
  const world = await start(t)
  await world.get()
  await counted(world, `slotgate_requests_total{${BLUE},code="200"}`, 1)

  await t.test('the listener takes no page, no other name, no other path and no other method', async (t) => {
    const status = async (options: Parameters<typeof request>[1] = {}, url = metricsUrl(world)) => {
      const { statusCode, body } = await request(url, options)
      await body.dump()
      return statusCode
    }
    t.equal(await status(), 200)
    t.equal(await status({ method: 'HEAD' }), 200)
    t.equal(await status({ headers: { origin: 'http://evil.test' } }), 403)
    t.equal(await status({ headers: { 'sec-fetch-mode': 'no-cors' } }), 403)
    t.equal(await status({ headers: { host: 'evil.test' } }), 403)
    t.equal(await status({ method: 'POST' }), 405)
    t.equal(await status({}, new URL('/v1/services', metricsUrl(world)).href), 404)
  })

  await t.test('the admin API has the same, for a key that may read', async (t) => {
    t.equal((await request(`${world.adminUrl}/metrics`)).statusCode, 401)
    const { status, body } = await world.call('GET', '/metrics')
    t.equal(status, 200)
    t.match(body, /^slotgate_generation\{service="invoices"\} 1$/m)
  })

  await t.test('promtool finds nothing to say about the metrics and the alerts', { skip }, async (t) => {
    const { body } = await request(metricsUrl(world))
    const ours = (await body.text())
      .split('\n')
      .filter((line) => /^(# (HELP|TYPE) )?slotgate_/.test(line))
      .join('\n')
    t.equal(execFileSync('promtool', ['check', 'metrics'], { input: `${ours}\n`, encoding: 'utf8' }), '')
    const rules = join(root, 'deploy', 'alerts.yaml')
    t.match(execFileSync('promtool', ['check', 'rules', rules], { encoding: 'utf8' }), 'SUCCESS')
    const cases = join(root, 'test', 'support', 'alerts.test.yaml')
    t.match(execFileSync('promtool', ['test', 'rules', cases], { encoding: 'utf8' }), 'SUCCESS')
  })

  await t.test(
    'a Prometheus scrapes them, and has an answer to each question of the dashboard',
    { skip },
    async (t) => {
      const query = await startPrometheus(t, world)
      const value = async (expression: string) =>
        (await query(expression)).map(({ value }) => Number(value[1]))
      await world.until(async () => (await value('up{job="slotgate"}'))[0] === 1, 'Prometheus has scraped')
      t.same(await value('sum by (release, code) (slotgate_requests_total{release="r42"})'), [1])
      t.same(await value('slotgate_schema_version'), [42])
      const dashboard = readFileSync(join(root, 'deploy', 'grafana.json'), 'utf8')
      for (const [, text = ''] of dashboard.matchAll(/"expr": ("(?:[^"\\]|\\.)*")/g)) {
        const expression = String(JSON.parse(text))
          .replaceAll(/\$__(rate_)?interval/g, '1m')
          .replaceAll(/\$\w+/g, '.*')
        await t.resolves(query(expression), expression)
      }
    },
  )
})

interface Series {
  metric: Record<string, string>
  value: [time: number, value: string]
}

/** @returns asks it */
async function startPrometheus(t: Test, world: World): Promise<(expression: string) => Promise<Series[]>> {
  const [port] = await freePorts()
  const config = {
    global: { scrape_interval: '200ms' },
    rule_files: [join(root, 'deploy', 'alerts.yaml')],
    scrape_configs: [
      { job_name: 'slotgate', static_configs: [{ targets: [new URL(metricsUrl(world)).host] }] },
    ],
  }
  const file = join(world.folder, 'prometheus.json')
  await writeFile(file, JSON.stringify(config))
  const data = join(world.folder, 'prometheus')
  const child = spawn(
    'prometheus',
    [`--config.file=${file}`, `--storage.tsdb.path=${data}`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: 'ignore' },
  )
  const exited = new Promise((resolve) => child.once('exit', resolve))
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  const url = `http://127.0.0.1:${port}`
  const isReady = async () => (await request(`${url}/-/ready`).catch(() => null))?.statusCode === 200
  await world.until(isReady, 'Prometheus is ready')
  return async (expression) => {
    const { body } = await request(`${url}/api/v1/query?${new URLSearchParams({ query: expression })}`)
    const answer = (await body.json()) as { status: string; error?: string; data: { result: Series[] } }
    if (answer.status !== 'success') throw new Error(`${expression}: ${answer.error}`)
    return answer.data.result
  }
}
