// r2: invoices have notes. Its code reads the column that 002 adds, so it needs schema 2.
import { serve } from '../../invoices/serve.ts'

const FIELDS = 'id::int, customer, total::int, notes'

await serve({
  migrations: new URL('migrations/', import.meta.url),
  notes: true,
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
        `INSERT INTO invoices (customer, total, notes) VALUES ($1, $2, $3) RETURNING ${FIELDS}`,
        [customer, total, notes],
      )
      return rows[0]
    },
    setTotal: async (id, total) => {
      const { rows } = await pool.query(`UPDATE invoices SET total = $2 WHERE id = $1 RETURNING ${FIELDS}`, [
        id,
        total,
      ])
      return rows[0]
    },
  }),
})
