#!/usr/bin/env node
// The executable. Only `serve` and `dev` load the server's parts; the other commands start without them.
import { runCli } from './cli/run.ts'

process.exitCode = await runCli(process.argv.slice(2), {
  serve: async (file) => (await import('./main.ts')).serve(file),
  dev: async (options) => (await import('./main.ts')).dev(options),
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
})
