// r3: the column `total` becomes `amount`. It works before and after 003, whichever name the column has at the moment:
// the intermediate release that a rename needs.
import type pg from 'pg'
import { serve } from '../../invoices/serve.ts'

const UNDEFINED_COLUMN = '42703'

/** Runs a statement with the column's present name; one that the rename overtook is run again with the other name. */
function withColumn(pool: pg.Pool) {
  let column = 'total'
  return async (statement: (column: string) => string, values: unknown[]) => {
    const tried = column
    try {
      return (await pool.query(statement(tried), values)).rows
    } catch (error) {
      if ((error as pg.DatabaseError).code !== UNDEFINED_COLUMN) throw error
      // Not a flip of `column`: another request may have found out in the meantime.
      const other = tried === 'total' ? 'amount' : 'total'
      column = other
      return (await pool.query(statement(other), values)).rows
    }
  }
}

const fields = (column: string): string => `id::int, customer, ${column}::int AS total, notes`

await serve({
  migrations: new URL('migrations/', import.meta.url),
  notes: true,
  store: (pool) => {
    const query = withColumn(pool)
    return {
      list: (limit) =>
        query((column) => `SELECT ${fields(column)} FROM invoices ORDER BY id DESC LIMIT $1`, [limit]),
      find: async (id) =>
        (await query((column) => `SELECT ${fields(column)} FROM invoices WHERE id = $1`, [id]))[0],
      add: async ({ customer, total, notes }) => {
        const insert = (column: string) =>
          `INSERT INTO invoices (customer, ${column}, notes) VALUES ($1, $2, $3) RETURNING ${fields(column)}`
        return (await query(insert, [customer, total, notes]))[0]
      },
      setTotal: async (id, total) => {
        const update = (column: string) =>
          `UPDATE invoices SET ${column} = $2 WHERE id = $1 RETURNING ${fields(column)}`
        return (await query(update, [id, total]))[0]
      },
    }
  },
})
