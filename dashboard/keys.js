// Keeps the key of this browser: in IndexedDB, as a key that signs and cannot be read out.

/** @typedef {import('./sign.js').SigningKey} SigningKey */

const DATABASE = 'slotgate'
const STORE = 'keys'
const CURRENT = 'current'

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>}
 */
async function withStore(mode, work) {
  const opening = indexedDB.open(DATABASE, 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE)
  const database = await done(opening)
  try {
    return await done(work(database.transaction(STORE, mode).objectStore(STORE)))
  } finally {
    database.close()
  }
}

/** @returns {Promise<SigningKey | undefined>} */
export const loadKey = () => withStore('readonly', (store) => store.get(CURRENT))

/** @param {SigningKey} key */
export const saveKey = (key) => withStore('readwrite', (store) => store.put(key, CURRENT))

/** The key goes, and the empty database stays: to delete that would wait for each tab that has it open, and new ones for that. */
export const forgetKey = () => withStore('readwrite', (store) => store.delete(CURRENT))
