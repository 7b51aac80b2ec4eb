// Installs the peers on Node from the lockfile of this folder, once. Where that fails, they are said to be missing.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

const LOCKFILE = join(import.meta.dirname, 'package-lock.json')
/** `npm ci` empties the folder, so that the stamp is only there if everything else is. */
const STAMP = join(import.meta.dirname, 'node_modules', '.installed')
const INSTALLS_WITHIN_MS = 120_000

/** @returns whether the peers are there */
export function installPeers(): boolean {
  if (existsSync(STAMP) && readFileSync(STAMP).equals(readFileSync(LOCKFILE))) return true
  console.error('Installing the peers on Node in bench/ (only the first time) …')
  const [command = '', ...first] = npmCommand()
  const args = [...first, 'ci', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error']
  const { status, error } = spawnSync(command, args, {
    cwd: import.meta.dirname,
    // `npm run` names the folder of its own package there, and what is installed belongs into this one.
    env: { ...process.env, npm_config_local_prefix: import.meta.dirname },
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: INSTALLS_WITHIN_MS,
  })
  if (status === 0) copyFileSync(LOCKFILE, STAMP)
  else console.error(`They could not be installed (${error?.message ?? `npm ended with ${status}`}).`)
  return status === 0
}

/** The npm that runs this, if one does; else the one on the path. */
function npmCommand(): string[] {
  const running = process.env.npm_execpath ?? ''
  const node = process.env.npm_node_execpath ?? process.execPath
  return basename(running) === 'npm-cli.js' ? [node, running] : ['npm']
}
