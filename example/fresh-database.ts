// A database of its own in a given PostgreSQL, so that the demo and the tests never touch what is there.
import { randomBytes } from 'node:crypto'
import pg from 'pg'

export interface FreshDatabase {
  url: string
  drop(): Promise<void>
}

/**
 * @param clusterUrl a DATABASE_URL whose user may create databases
 * @param prefix what its random name begins with
 * @param template the database that it is a copy of; nobody may be connected to that one
 */
export async function createFreshDatabase(
  clusterUrl: string,
  prefix: string,
  template?: FreshDatabase,
): Promise<FreshDatabase> {
  const name = `${prefix}_${randomBytes(6).toString('hex')}`
  const copied = template ? ` TEMPLATE ${new URL(template.url).pathname.slice(1)}` : ''
  await execute(clusterUrl, `CREATE DATABASE ${name}${copied}`)
  const url = new URL(clusterUrl)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => execute(clusterUrl, `DROP DATABASE ${name} WITH (FORCE)`) }
}

async function execute(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
