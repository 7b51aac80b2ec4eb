// r3: the column `total` becomes `amount`. It works before and after 003, whichever name the column has at the moment:
// the intermediate release that a rename needs.
import type pg from 'pg'
import { serve } from '../../invoices/serve.ts'
import { createStore, type Store } from '../../invoices/store.ts'

const UNDEFINED_COLUMN = '42703'

/** A store for both names: a statement that the rename overtook is run again with the other name. */
function createRenamingStore(pool: pg.Pool): Store {
  const before = createStore(pool, { total: 'total', notes: true })
  const after = createStore(pool, { total: 'amount', notes: true })
  let present = before
  const withEither = async <Result>(work: (store: Store) => Promise<Result>): Promise<Result> => {
    const tried = present
    try {
      return await work(tried)
    } catch (error) {
      if ((error as pg.DatabaseError).code !== UNDEFINED_COLUMN) throw error
      // Not the other of `present`: another request may have found out in the meantime.
      present = tried === before ? after : before
      return work(tried === before ? after : before)
    }
  }
  return {
    list: (limit) => withEither((store) => store.list(limit)),
    find: (id) => withEither((store) => store.find(id)),
    add: (draft) => withEither((store) => store.add(draft)),
    setTotal: (id, total) => withEither((store) => store.setTotal(id, total)),
  }
}

await serve({
  migrations: new URL('migrations/', import.meta.url),
  notes: true,
  store: createRenamingStore,
})
