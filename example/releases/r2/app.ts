// r2: invoices have notes. Its code reads the column that 002 adds, so it needs schema 2.
import { serve } from '../../invoices/serve.ts'
import { createStore } from '../../invoices/store.ts'

await serve({
  migrations: new URL('migrations/', import.meta.url),
  notes: true,
  store: (pool) => createStore(pool, { total: 'total', notes: true }),
})
