// What the kit's tests share: a release with its own migrations folder and database, served on its internal port.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Pool } from 'pg'
import type { Test } from 'tap'
import { parseStatus } from '../../src/contract.ts'
import { type Internal, type InternalOptions, serveInternal } from '../../src/kit/index.ts'
import { createTestDatabase } from '../support/postgres.ts'

/** File names to contents. */
export type Files = Record<string, string>

export interface Answer {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: an answer is compared, not used
  json: any
}

/** A release under test. */
export interface Release {
  pool: Pool
  databaseUrl: string
  folder: string
  url: string
  internal: Internal
  status(): Promise<Answer>
  run(body?: unknown): Promise<Answer>
}

/** Scripts that do next to nothing, numbered `from` to `to`. */
export function trivial(from: number, to: number): Files {
  const numbers = Array.from({ length: to - from + 1 }, (_, index) => String(from + index).padStart(3, '0'))
  return Object.fromEntries(numbers.map((number) => [`${number}_step.sql`, 'SELECT 1;']))
}

export async function writeFolder(t: Test, files: Files): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kit-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(folder, name), text)))
  return folder
}

/** Serves a release on a fresh database. */
export async function release(
  t: Test,
  files: Files,
  options: Partial<InternalOptions> = {},
): Promise<Release> {
  const database = await createTestDatabase(t)
  return serve(t, database.url, database.pool, files, options)
}

/** Serves another release on the database of the first one. */
export const successor = (t: Test, { databaseUrl, pool }: Release, files: Files): Promise<Release> =>
  serve(t, databaseUrl, pool, files)

/** Serves a release on the database given. */
export async function serve(
  t: Test,
  databaseUrl: string,
  pool: Pool,
  files: Files,
  options: Partial<InternalOptions> = {},
): Promise<Release> {
  const folder = await writeFolder(t, files)
  const internal = await serveInternal({ pool, migrations: folder, port: 0, ...options })
  t.teardown(() => internal.close())
  const { url } = internal
  return {
    pool,
    databaseUrl,
    folder,
    url,
    internal,
    status: () => ask(`${url}/schema/status`),
    run: (body) => ask(`${url}/migrations/run`, body === undefined ? { method: 'POST' } : post(body)),
  }
}

export const post = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

/** Asks, and checks on the way that a 200 for a status is one that slotgate reads. */
export async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  if (url.endsWith('/schema/status') && response.status === 200) {
    const parsed = parseStatus(text)
    if (!parsed.ok) throw new Error(`slotgate would not read this status: ${JSON.stringify(parsed)}`)
  }
  return { status: response.status, json: JSON.parse(text) }
}

/** Asks again until the answer is the awaited one; the runner's time limit is the only other end. */
export async function eventually<T>(question: () => Promise<T>, isIt: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await question()
    if (isIt(answer)) return answer
    await delay(20)
  }
}

export const columnsOf = async (pool: Pool, table: string): Promise<string[]> => {
  const text = 'SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY 1'
  return (await pool.query(text, [table])).rows.map(({ column_name }) => column_name)
}

/** Starts a release in a process of its own. */
export async function spawnRelease(t: Test, databaseUrl: string, folder: string) {
  const app = spawn(process.execPath, [fileURLToPath(new URL('app.ts', import.meta.url))], {
    env: { ...process.env, DATABASE_URL: databaseUrl, MIGRATIONS: folder, INTERNAL_PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(app, 'exit')
  t.teardown(async () => {
    app.kill('SIGKILL')
    await exited
  })
  const [url] = (await once(createInterface(app.stdout), 'line')) as [string]
  return { app, exited, url }
}
