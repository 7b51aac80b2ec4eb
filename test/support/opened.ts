// Preloaded into a process: writes the path of every file that it opens, lists or looks at into the file $OPENED.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const NAMES = ['open', 'readFile', 'readdir', 'stat', 'lstat', 'access', 'opendir', 'realpath'] as const
const { OPENED = '' } = process.env
const write = fs.appendFileSync

type Call = (path: unknown, ...rest: unknown[]) => unknown

function watch(holder: Record<string, unknown>, name: string): void {
  const original = holder[name] as Call | undefined
  if (!original) return
  holder[name] = (path: unknown, ...rest: unknown[]) => {
    if (String(path) !== OPENED) write(OPENED, `${path}\n`)
    return original(path, ...rest)
  }
}

const holderOf = (module: object) => module as Record<string, unknown>

for (const name of NAMES) {
  watch(holderOf(fs), name)
  watch(holderOf(fs), `${name}Sync`)
  watch(holderOf(fs.promises), name)
}
syncBuiltinESMExports()
