// slotgate/kit: what a Node app with a PostgreSQL database needs to tell slotgate the truth about its schema.
//
//   const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 3 })   // one of its own, beside the app's
//   const internal = await serveInternal({ pool, migrations: new URL('migrations/', import.meta.url) })
//   internal.onLive(() => startBackgroundJobs())
//   process.once('SIGTERM', () => internal.close())
//
// docs/kit.md has the rest.
export { SlotgateError } from '../errors.ts'
export type { Acceptance, AdviceOptions } from './advice.ts'
export type { Place } from './attempt.ts'
export type { Client, Pool, Result } from './database.ts'
export { loadMigrations, type MigrationFile, type Migrations, writeSums } from './migrations.ts'
export { type ClearRequest, clearAttempt, type RunRequest, type RunResult, runMigrations } from './run.ts'
export { type Internal, type InternalOptions, type KitProblem, problemOf, serveInternal } from './server.ts'
export { type KitStatus, readStatus } from './status.ts'
