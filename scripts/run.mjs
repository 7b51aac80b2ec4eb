// Runs a TypeScript file under the pinned Node, after installing from the lockfile what is missing. Plain
// JavaScript for Node 20: it is the one file that may meet an older system Node and an empty clone.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const node = join(root, 'node_modules', '.bin', 'node')
const [script, ...args] = process.argv.slice(2)
if (!existsSync(node)) throw new Error('run npm ci first')
const child = spawn(node, [script, ...args], { cwd: root, stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)))
