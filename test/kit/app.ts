// A minimal app on the kit, started by tests that need a process of its own: to kill it, or to see it end.
import { writeSync } from 'node:fs'
import pg from 'pg'
import { serveInternal } from '../../src/kit/index.ts'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 3 })
const internal = await serveInternal({ pool, migrations: process.env.MIGRATIONS ?? 'migrations' })
writeSync(1, `${internal.url}\n`)
