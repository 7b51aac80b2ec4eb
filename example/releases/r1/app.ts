// r1: invoices with a customer and a total. It ships 002, which adds notes, and works before and after it: declared
// ahead like this, the way back to r1 stays open when a later release needs the notes.
import { serve } from '../../invoices/serve.ts'

await serve({
  migrations: new URL('migrations/', import.meta.url),
  notes: false,
  store: (pool) => ({
    list: async (limit) => {
      const { rows } = await pool.query(
        'SELECT id::int, customer, total::int FROM invoices ORDER BY id DESC LIMIT $1',
        [limit],
      )
      return rows
    },
    find: async (id) => {
      const { rows } = await pool.query('SELECT id::int, customer, total::int FROM invoices WHERE id = $1', [
        id,
      ])
      return rows[0]
    },
    add: async ({ customer, total }) => {
      const { rows } = await pool.query(
        'INSERT INTO invoices (customer, total) VALUES ($1, $2) RETURNING id::int, customer, total::int',
        [customer, total],
      )
      return rows[0]
    },
    setTotal: async (id, total) => {
      const { rows } = await pool.query(
        'UPDATE invoices SET total = $2 WHERE id = $1 RETURNING id::int, customer, total::int',
        [id, total],
      )
      return rows[0]
    },
  }),
})
