// Holds docker-compose.yml, its Dockerfile and its slotgate config to each other and to what they promise.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { checkConfig } from '../../src/config/check.ts'

interface Service {
  build?: { target: string }
  image: string
  user?: string
  read_only?: boolean
  cap_drop?: string[]
  restart?: string
  ports?: string[]
  networks?: string[]
  volumes?: string[]
  healthcheck?: { test: string[] }
  stop_grace_period?: string
  environment?: Record<string, string>
  depends_on?: Record<string, { condition: string }>
}

const root = join(import.meta.dirname, '..', '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, Service>
  networks: Record<string, { internal?: boolean } | null>
  volumes: Record<string, null>
}
const services = Object.entries(compose.services)
const dockerfile = read('Dockerfile')
const configFile = 'deploy/compose.config.yaml'
const secret = Buffer.alloc(32, 7).toString('base64')
const { config, problems } = checkConfig(read(configFile), {
  file: configFile,
  env: {},
  readFile: () => ({ content: secret, mode: 0o600 }),
})

t.test('what a service refers to is there', async (t) => {
  for (const [name, service] of services) {
    for (const other of Object.keys(service.depends_on ?? {}))
      t.ok(compose.services[other], `${name} depends on ${other}`)
    for (const network of service.networks ?? [])
      t.ok(network in compose.networks, `${name} is in ${network}`)
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':')
      if (!source.startsWith('.')) t.ok(source in compose.volumes, `${name} uses ${source}`)
    }
    if (service.build) t.match(dockerfile, new RegExp(`^FROM .+ AS ${service.build.target}$`, 'm'), name)
  }
})

t.test('no service runs as root, gains rights, or writes outside of its volumes', async (t) => {
  for (const [name, service] of services) {
    t.equal(service.read_only, true, name)
    t.same(service.cap_drop, ['ALL'], name)
    if (service.build) t.match(stage(service.build.target), /^USER node$/m, name)
    else if (name === 'database') t.equal(service.user, 'postgres')
    else
      t.ok(
        services.some(([, other]) => other.build && other.image === service.image),
        `${name} uses an image built here`,
      )
  }
})

t.test('whatever stays up has a health check', async (t) => {
  for (const [name, { restart, healthcheck }] of services)
    t.equal(Boolean(healthcheck), restart !== 'no', name)
})

t.test('what a health check runs is text: no colon in it has made it something else', async (t) => {
  for (const [name, { healthcheck }] of services)
    for (const part of healthcheck?.test ?? []) t.type(part, 'string', name)
})

t.test('only the front door can be reached from outside, and only from this machine', async (t) => {
  for (const [name, { ports = [], networks = [] }] of services) {
    if (name === 'slotgate') continue
    t.same(ports, [], name)
    t.notOk(networks.includes('outside'), name)
  }
  t.same(compose.services.slotgate?.ports, [`127.0.0.1:\${PORT:-8080}:8080`])
  t.equal(compose.networks.inside?.internal, true)
})

t.test('the config passes the check', async (t) => {
  t.same(problems, [])
  t.equal(config?.listen.port, 8080)
  t.equal(config?.admin.listen.host, '127.0.0.1')
})

t.test('what the config names is what the services are', async (t) => {
  const app = compose.services.blue?.environment
  for (const slot of ['blue', 'green']) {
    t.match(
      read(configFile),
      `public: "http://${slot}:${app?.PORT}", internal: "http://${slot}:${app?.INTERNAL_PORT}"`,
    )
    t.equal(compose.services[slot]?.environment?.SLOTGATE_SLOT, slot)
  }
  const { environment, volumes = [] } = compose.services.slotgate ?? {}
  t.match(read(configFile), `secret_file: ${environment?.SLOTGATE_KEY}\n`)
  t.equal(compose.services.keys?.environment?.KEY, environment?.SLOTGATE_KEY)
  t.ok(
    volumes.some((volume) => volume.endsWith(`:${config?.stateDir}`)),
    'the state outlives the container',
  )
  t.ok(
    volumes.some((volume) => dockerfile.includes(volume.split(':')[1] ?? '-')),
    'the image mounts its config where it looks',
  )
})

t.test('the releases that run by default are there', async (t) => {
  const releases = [...read('docker-compose.yml').matchAll(/releases\/\$\{\w+:-(\w+)\}/g)].map(([, id]) => id)
  t.equal(releases.length, 2)
  for (const id of releases)
    t.ok(existsSync(join(root, 'example', 'releases', id ?? '', 'app.ts')), `release ${id}`)
})

t.test('slotgate is given more time to end than its requests are', async (t) => {
  const [within = ''] = /(?<=drain: \{ within: )\d+/.exec(read(configFile)) ?? []
  t.ok(Number.parseInt(compose.services.slotgate?.stop_grace_period ?? '', 10) > Number(within))
})

t.test('the images run the Node that is pinned for development', async (t) => {
  const { devDependencies } = JSON.parse(read('package.json'))
  t.match(dockerfile, `ARG NODE=${devDependencies.node}\n`)
})

/** A stage with all that it is built upon. */
function stage(name: string): string {
  const [, base = '', body = ''] =
    new RegExp(`^FROM (\\S+) AS ${name}\\n([\\s\\S]*?)(?=^FROM |$(?![\\s\\S]))`, 'm').exec(dockerfile) ?? []
  return base.includes(':') ? body : stage(base) + body
}
