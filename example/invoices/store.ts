// What a release does with the database, for the columns that its schema versions have.
import type pg from 'pg'

export interface Invoice {
  id: number
  customer: string
  total: number
  notes?: string | null
}

export interface Draft {
  customer: string
  total: number
  notes: string | null
}

export interface Store {
  /** The newest first. */
  list(limit: number): Promise<Invoice[]>
  find(id: number): Promise<Invoice | undefined>
  add(draft: Draft): Promise<Invoice>
  setTotal(id: number, total: number): Promise<Invoice | undefined>
}

/** Which columns a release uses: it fails on a schema that has others. */
export interface Columns {
  total: 'total' | 'amount'
  notes: boolean
}

export function createStore(pool: pg.Pool, { total: column, notes: hasNotes }: Columns): Store {
  const fields = `id::int, customer, ${column}::int AS total${hasNotes ? ', notes' : ''}`
  const query = async (text: string, values: unknown[]): Promise<Invoice[]> =>
    (await pool.query(text, values)).rows
  return {
    list: (limit) => query(`SELECT ${fields} FROM invoices ORDER BY id DESC LIMIT $1`, [limit]),
    find: async (id) => (await query(`SELECT ${fields} FROM invoices WHERE id = $1`, [id]))[0],
    add: async ({ customer, total, notes }) => {
      const [names, marks] = hasNotes ? [', notes', ', $3'] : ['', '']
      const text = `INSERT INTO invoices (customer, ${column}${names}) VALUES ($1, $2${marks}) RETURNING ${fields}`
      const [invoice] = await query(text, hasNotes ? [customer, total, notes] : [customer, total])
      if (!invoice) throw new Error('PostgreSQL returned no row')
      return invoice
    },
    setTotal: async (id, total) =>
      (await query(`UPDATE invoices SET ${column} = $2 WHERE id = $1 RETURNING ${fields}`, [id, total]))[0],
  }
}
