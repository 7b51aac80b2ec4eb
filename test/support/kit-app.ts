// A release with the kit on a real PostgreSQL, for the scenarios: its folder holds migrations and how it behaves.
import { appendFileSync, readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import pg from 'pg'
import { createServer } from '../../src/http.ts'
import { serveInternal } from '../../src/kit/index.ts'

const { DATABASE_URL, PORT, HOST, SLOTGATE_RELEASE = '', WORLD = '.' } = process.env
const { column = 'total' } = JSON.parse(readFileSync('release.json', 'utf8'))
const pool = new pg.Pool({ connectionString: DATABASE_URL })
pool.on('error', () => {})

/** The app itself: an amount plus one, reckoned by the code as it would be in an app that does arithmetic. */
const app = createServer(async (req, res) => {
  res.setHeader('x-release', SLOTGATE_RELEASE)
  const id = /^\/invoices\/(\d+)\/plus-one$/.exec(req.url ?? '')?.[1]
  if (id === undefined) return res.end(SLOTGATE_RELEASE)
  try {
    const { rows } = await pool.query(`SELECT ${column} AS value FROM invoices WHERE id = $1`, [id])
    res.end(String(Number(rows[0].value) + 1))
  } catch (error) {
    res.writeHead(500).end(String(error))
  }
})
const internal = await serveInternal({
  pool: new pg.Pool({ connectionString: DATABASE_URL, max: 3 }),
  migrations: pathToFileURL(`${process.cwd()}/migrations/`),
  ...(HOST && { host: HOST }),
})
internal.onLive(() => appendFileSync(`${WORLD}/live.log`, `${SLOTGATE_RELEASE}\n`))
app.listen(Number(PORT), HOST)
process.once('SIGTERM', () => process.exit(0))
