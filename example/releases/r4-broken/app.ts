// r4-broken: the end of the rename, with a mistake in it: its health check never becomes good. It is here to be refused.
import { serve } from '../../invoices/serve.ts'

const FIELDS = 'id::int, customer, amount::int AS total, notes'

console.error('cannot reach the printing service at print.internal:9100')

await serve({
  migrations: new URL('migrations/', import.meta.url),
  notes: true,
  healthy: () => false,
  store: (pool) => ({
    list: async (limit) => {
      const { rows } = await pool.query(`SELECT ${FIELDS} FROM invoices ORDER BY id DESC LIMIT $1`, [limit])
      return rows
    },
    find: async (id) => {
      const { rows } = await pool.query(`SELECT ${FIELDS} FROM invoices WHERE id = $1`, [id])
      return rows[0]
    },
    add: async ({ customer, total, notes }) => {
      const { rows } = await pool.query(
        `INSERT INTO invoices (customer, amount, notes) VALUES ($1, $2, $3) RETURNING ${FIELDS}`,
        [customer, total, notes],
      )
      return rows[0]
    },
    setTotal: async (id, total) => {
      const { rows } = await pool.query(`UPDATE invoices SET amount = $2 WHERE id = $1 RETURNING ${FIELDS}`, [
        id,
        total,
      ])
      return rows[0]
    },
  }),
})
