// Every command by the words it is called with.
import { deploy, pause, promote, resume, rollback, stage } from './acting.ts'
import type { Command } from './command.ts'
import { dashboard } from './dashboard.ts'
import { dev } from './dev.ts'
import { events } from './events.ts'
import { init } from './init.ts'
import { generateKeys } from './keys.ts'
import { lint } from './lint.ts'
import { preview } from './preview.ts'
import { advice, check, history, status } from './reading.ts'
import { serve } from './serve.ts'
import { verify } from './verify-app.ts'

export const COMMANDS: Readonly<Record<string, Command>> = {
  serve,
  dev,
  init,
  'keys generate': generateKeys,
  status,
  stage,
  check,
  promote,
  rollback,
  deploy,
  pause,
  resume,
  preview,
  advice,
  history,
  events,
  dashboard,
  lint,
  'verify-app': verify,
}
