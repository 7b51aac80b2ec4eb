// Imported before tap: a file's promises and sockets are not followed any more. tap follows each of them (async-hook-domain)
// to tell which test an error belongs to that nobody catches. Where a file makes tens of thousands of them, that is up to half
// of its processor time. Without it such an error ends the process with its stack, which fails the file as well.
import asyncHooks, { type AsyncHook } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'

const NONE: AsyncHook = { enable: () => NONE, disable: () => NONE }
Object.assign(asyncHooks, { createHook: () => NONE })
syncBuiltinESMExports()
