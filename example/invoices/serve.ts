// What every release of the invoice app has in common: the public server, the internal one, and an end in order.
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import pg from 'pg'
// In an app of your own: import { serveInternal } from 'slotgate/kit'
import { serveInternal } from '../../src/kit/index.ts'
import { page } from './page.ts'
import type { Draft, Store } from './store.ts'

export interface InvoiceRelease {
  /** The folder with this release's migrations and its compat.json. */
  migrations: URL
  store(pool: pg.Pool): Store
  /** Whether this release has a field for notes. */
  notes: boolean
  healthy?: () => boolean
}

const LONGEST_LIST = 50

/** Runs a release until SIGTERM: the app on PORT, the contract with slotgate on INTERNAL_PORT. */
export async function serve(release: InvoiceRelease): Promise<void> {
  const { DATABASE_URL, HOST = '127.0.0.1', PORT = '3000' } = process.env
  const pool = new pg.Pool({ connectionString: DATABASE_URL })
  pool.on('error', (error) => console.error(`database: ${error.message}`))
  const kitPool = new pg.Pool({ connectionString: DATABASE_URL, max: 3 })
  const app = createApp(release, release.store(pool))
  await app.listen({ host: HOST, port: Number(PORT) })
  const internal = await serveInternal({
    pool: kitPool,
    migrations: release.migrations,
    host: HOST,
    ...(release.healthy && { healthy: release.healthy }),
  })
  console.log(`${releaseName()} serves on port ${PORT}, its internal port is ${internal.port}`)
  process.once('SIGTERM', async () => {
    await Promise.all([app.close(), internal.close()])
    await Promise.all([pool.end(), kitPool.end()])
  })
}

const releaseName = (): string => process.env.SLOTGATE_RELEASE ?? 'the app'

function createApp({ notes }: InvoiceRelease, store: Store): FastifyInstance {
  const app = Fastify({ forceCloseConnections: 'idle' })
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    async (_request: FastifyRequest, body: string) => Object.fromEntries(new URLSearchParams(body)),
  )
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-release', releaseName())
  })
  app.get('/', async (_request, reply) => {
    const invoices = await store.list(LONGEST_LIST)
    const { SLOTGATE_SLOT: slot = 'no slot' } = process.env
    return reply
      .type('text/html; charset=utf-8')
      .send(page({ invoices, notes, release: releaseName(), slot }))
  })
  app.get('/invoices', () => store.list(LONGEST_LIST))
  app.get<{ Params: { id: string } }>('/invoices/:id', async ({ params }, reply) => {
    const invoice = await store.find(Number(params.id))
    return invoice ?? reply.code(404).send({ error: `there is no invoice ${params.id}` })
  })
  app.post<{ Body: Record<string, unknown> }>(
    '/invoices',
    { schema: { body: DRAFT } },
    async (request, reply) => {
      const invoice = await store.add(toDraft(request.body))
      const fromForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded')
      return fromForm ? reply.redirect('/', 303) : reply.code(201).send(invoice)
    },
  )
  app.patch<{ Params: { id: string }; Body: { total: number } }>(
    '/invoices/:id',
    async ({ params, body }, reply) => {
      const invoice = await store.setTotal(Number(params.id), Number(body.total))
      return invoice ?? reply.code(404).send({ error: `there is no invoice ${params.id}` })
    },
  )
  return app
}

const DRAFT = {
  type: 'object',
  required: ['customer', 'total'],
  properties: {
    customer: { type: 'string', minLength: 1, maxLength: 200 },
    total: { type: 'integer', minimum: 0, maximum: 1_000_000_000 },
    notes: { type: 'string', maxLength: 2_000 },
  },
}

const toDraft = ({ customer, total, notes }: Record<string, unknown>): Draft => ({
  customer: String(customer),
  total: Number(total),
  notes: typeof notes === 'string' && notes !== '' ? notes : null,
})
