// What a release does with the database; each release brings its own, for the schema versions it works with.
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
