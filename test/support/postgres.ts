// Gives each test a fresh database of its own, in the cluster at DATABASE_URL or in one started for this test process.
import pg from 'pg'
import { t as root, type Test } from 'tap'
import { type Database, openDatabase } from '../../example/database.ts'
import { createFreshDatabase, type FreshDatabase } from '../../example/fresh-database.ts'

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
 * @param template what it is a copy of, where it is not to be empty
 * @returns a database with a random name
 */
export async function createTestDatabase(
  t: Pick<Test, 'teardown'>,
  template?: FreshDatabase,
): Promise<TestDatabase> {
  const cluster = await openCluster()
  const { url, drop } = await createFreshDatabase(cluster.url, 'test', template)
  const pool = new pg.Pool({ connectionString: url })
  pool.on('error', () => {}) // a test may end connections on purpose
  t.teardown(async () => {
    if (!pool.ending) await pool.end()
    await drop()
  })
  return { url, pool }
}

/**
 * @param fill what is to be in it; leaves no connection open
 * @returns a database to make copies of, dropped when the file's tests have ended
 */
export async function createTemplate(fill: (pool: pg.Pool) => Promise<void>): Promise<FreshDatabase> {
  const cluster = await openCluster()
  const template = await createFreshDatabase(cluster.url, 'test_template')
  root.teardown(template.drop)
  const pool = new pg.Pool({ connectionString: template.url })
  await fill(pool)
  await pool.end()
  return template
}
