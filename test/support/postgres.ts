// Gives each test a fresh database of its own, in the cluster at DATABASE_URL or in one started for this test process.
import pg from 'pg'
import { t as root, type Test } from 'tap'
import { type Database, openDatabase } from '../../example/database.ts'
import { createFreshDatabase } from '../../example/fresh-database.ts'

export interface TestDatabase {
  /** The URL of the fresh database, for a process of its own. */
  url: string
  /** A pool on it, ended before the database is dropped. */
  pool: pg.Pool
}

let cluster: Promise<Database> | undefined

async function openCluster(): Promise<Database> {
  if (!cluster) {
    cluster = openDatabase()
    root.teardown(async () => (await cluster)?.stop())
  }
  return cluster
}

/**
 * @param t the test that uses the database; it is dropped when that test ends
 * @returns an empty database with a random name
 */
export async function createTestDatabase(t: Pick<Test, 'teardown'>): Promise<TestDatabase> {
  const cluster = await openCluster()
  const { url, drop } = await createFreshDatabase(cluster.url, 'test')
  const pool = new pg.Pool({ connectionString: url })
  pool.on('error', () => {}) // a test may end connections on purpose
  t.teardown(async () => {
    if (!pool.ending) await pool.end()
    await drop()
  })
  return { url, pool }
}
