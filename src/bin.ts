#!/usr/bin/env node
// The executable. Only `serve` and `dev` load the server's parts; the other commands start without them.
import { runCli } from './cli/run.ts'

// Who read the output has gone, as `head` does: nobody is left to be told, and what was called has its own end.
process.stdout.on('error', () => {})

process.exitCode = await runCli(process.argv.slice(2), {
  serve: async (file) => (await import('./main.ts')).serve(file),
  dev: async (options) => (await import('./main.ts')).dev(options),
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
})
