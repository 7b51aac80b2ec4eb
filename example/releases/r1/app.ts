// r1: invoices with a customer and a total. It ships 002, which adds notes, and works before and after it: declared
// ahead like this, the way back to r1 stays open when a later release needs the notes.
import { serve } from '../../invoices/serve.ts'
import { createStore } from '../../invoices/store.ts'

await serve({
  migrations: new URL('migrations/', import.meta.url),
  notes: false,
  store: (pool) => createStore(pool, { total: 'total', notes: false }),
})
