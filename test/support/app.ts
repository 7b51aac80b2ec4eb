// A small real app for the tests of switching: its schema is a JSON file that all its releases share, its manners come
// from `release.json` in its folder. It logs every internal request, so that a test can see what slotgate asked.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from '../../src/http.ts'
import type { Manners } from './world.ts'

// An `import` of it reads all that it exports, and loads streams of files for that: a tenth of the app's life.
const { appendFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } =
  process.getBuiltinModule('node:fs')

const manners: Manners = JSON.parse(readFileSync('release.json', 'utf8'))
const {
  PORT,
  INTERNAL_PORT,
  HOST,
  SLOTGATE_BOOT_ID,
  SLOTGATE_RELEASE = 'none',
  SLOTGATE_REHEARSAL,
  WORLD = '.',
} = process.env
const schemaFile = `${WORLD}/schema.json`
/** What this release alone finds, and only once. */
const ownSchemaFile = `${WORLD}/schema.${SLOTGATE_RELEASE}.json`

function schema(): { current: number } & Record<string, unknown> {
  const isOwn = existsSync(ownSchemaFile)
  const found = JSON.parse(readFileSync(isOwn ? ownSchemaFile : schemaFile, 'utf8'))
  if (isOwn) rmSync(ownSchemaFile)
  return found
}

/** In one step, for another release may read it at any moment. */
function migrate(): void {
  const next = `${schemaFile}.${process.pid}`
  writeFileSync(next, JSON.stringify({ ...schema(), current: manners.max }))
  renameSync(next, schemaFile)
}

console.log(`${SLOTGATE_RELEASE} boots on ${PORT}${SLOTGATE_REHEARSAL ? ' for a rehearsal' : ''}`)
for (let line = 0; line < (manners.lines ?? 0); line++) console.error(`line ${line}`)
if (manners.exitOnBoot !== undefined) {
  console.error('cannot find the configuration')
  process.exit(manners.exitOnBoot)
}
if (manners.migratesOnBoot) migrate()
if (manners.ignoresSigterm) process.on('SIGTERM', () => console.log('not now'))
else {
  process.on('SIGTERM', () => {
    front.close(() => process.exit(0))
    front.closeIdleConnections()
    setTimeout(() => process.exit(0), 200)
  })
}

const front = createServer((req, res) => {
  const path = req.url?.split('?')[0] ?? '/'
  const route = PUBLIC[path]
  if (route) return route(req, res)
  res.setHeader('x-release', SLOTGATE_RELEASE)
  res.end(JSON.stringify({ release: SLOTGATE_RELEASE, pid: process.pid, method: req.method, url: req.url }))
})

const PUBLIC: Record<string, (req: IncomingMessage, res: ServerResponse) => void> = {
  '/echo': (req, res) => {
    res.setHeader('x-release', SLOTGATE_RELEASE)
    req.pipe(res)
  },
  '/slow': (req, res) => {
    const ms = Number(new URL(req.url ?? '', 'http://x').searchParams.get('ms') ?? 100)
    res.setHeader('x-release', SLOTGATE_RELEASE)
    res.write('begun\n')
    setTimeout(() => res.end('ended\n'), ms)
  },
  // Until a test lets it end.
  '/held': (_, res) => {
    res.setHeader('x-release', SLOTGATE_RELEASE)
    res.write('begun\n')
    whenLetGo(() => res.end('ended\n'))
  },
  // From when to when it ran, by the clock that all processes of the machine have.
  '/span': (req, res) => {
    const ms = Number(new URL(req.url ?? '', 'http://x').searchParams.get('ms') ?? 100)
    const now = () => Number(process.hrtime.bigint()) / 1e6
    const began = now()
    setTimeout(() => res.end(JSON.stringify({ release: SLOTGATE_RELEASE, began, ended: now() })), ms)
  },
  '/sse': (req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'x-release': SLOTGATE_RELEASE })
    let count = 0
    const timer = setInterval(() => res.write(`data: ${SLOTGATE_RELEASE} ${count++}\n\n`), 20)
    req.on('close', () => clearInterval(timer))
  },
  '/held-sse': (req, res) => whenLetGo(() => PUBLIC['/sse']?.(req, res)),
  '/answer': (req, res) => {
    const status = Number(new URL(req.url ?? '', 'http://x').searchParams.get('status') ?? 200)
    res.writeHead(status, { 'x-release': SLOTGATE_RELEASE }).end()
  },
  '/die': () => process.kill(process.pid, 'SIGKILL'),
}

function whenLetGo(done: () => void): void {
  if (existsSync(`${WORLD}/let-go`)) done()
  else setTimeout(() => whenLetGo(done), 20)
}

front.on('upgrade', async (request, socket, head) => {
  // Loaded when it is needed: most tests boot this app several times and open no WebSocket.
  const { WebSocketServer } = await import('ws')
  new WebSocketServer({ noServer: true }).handleUpgrade(request, socket, head, (client) => {
    client.on('message', (data) => client.send(`${SLOTGATE_RELEASE}: ${data}`))
    client.on('error', () => {})
  })
})

const status = () => {
  const { current, ...more } = schema()
  const { min, max } = manners
  const pending = Array.from({ length: Math.max(0, max - current) }, (_, n) => `${current + n + 1}_step.sql`)
  return {
    current_schema_version: current,
    code_min_schema_version: min,
    code_max_schema_version: max,
    pending_migrations: pending,
    compatible: min <= current && current <= max,
    ...(SLOTGATE_BOOT_ID && { boot_id: SLOTGATE_BOOT_ID }),
    release: SLOTGATE_RELEASE,
    ...more,
    ...manners.status,
  }
}

const internal = createServer((req, res) => {
  const role = req.headers['slotgate-role'] ?? '-'
  appendFileSync(`${WORLD}/internal.log`, `${SLOTGATE_RELEASE} ${req.method} ${req.url} ${role}\n`)
  if (manners.hangs) return
  if (req.url === '/healthz') {
    const sick = manners.unhealthy || existsSync(`${WORLD}/${SLOTGATE_RELEASE}.sick`)
    return res.writeHead(sick ? 503 : 200).end()
  }
  if (req.url === '/schema/status') return res.end(JSON.stringify(status()))
  if (req.url === '/migrations/run' && req.method === 'POST') {
    migrate()
    return res.end(JSON.stringify({ to: manners.max }))
  }
  res.writeHead(404).end()
})

front.listen(manners.listensOn ?? Number(PORT), HOST, () => {
  internal.listen(manners.internalOn ?? Number(INTERNAL_PORT), HOST, () => console.log('ready'))
})
