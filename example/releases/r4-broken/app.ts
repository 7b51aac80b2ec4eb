// r4-broken: the end of the rename, with a mistake in it: its health check never becomes good. It is here to be refused.
import { serve } from '../../invoices/serve.ts'
import { createStore } from '../../invoices/store.ts'

console.error('cannot reach the printing service at print.internal:9100')

await serve({
  migrations: new URL('migrations/', import.meta.url),
  notes: true,
  healthy: () => false,
  store: (pool) => createStore(pool, { total: 'amount', notes: true }),
})
