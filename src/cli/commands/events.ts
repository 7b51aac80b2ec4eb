// `slotgate events`: the journal from any record on, and with --follow what happens as it happens.
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../../errors.ts'
import type { FeedEvent } from '../../switch/types.ts'
import {
  type Call,
  EXIT,
  type ExitCode,
  Failure,
  ProblemAnswer,
  readable,
  setting,
  wantsJson,
} from '../call.ts'
import { type AdminClient, withAdmin } from '../client.ts'
import { CLIENT } from '../flags.ts'
import { printEvent } from '../print/event.ts'
import { styleFor } from '../style.ts'
import type { Command } from './command.ts'
import { numberOf } from './parts.ts'

const AGAIN_MS = 1_000

export const events: Command = {
  operands: [],
  flags: [...CLIENT, 'follow', 'since'],
  about: 'print what the journal has, the oldest first, and with --follow what happens as it happens',
  run: (call) =>
    withAdmin(call, async (admin) => {
      const since = numberOf(call, 'since')
      if (call.flags.follow === true) return follow(call, admin, since)
      for await (const event of admin.events(queryOf(call, { kinds: 'record', since: since ?? 0 }))) {
        if (event.kind === 'live' || !print(call, event)) break
      }
      return EXIT.done
    }),
}

/** Goes on after the last record whenever the stream ends, until slotgate refuses or nobody reads it. */
async function follow(call: Call, admin: AdminClient, from: number | undefined): Promise<ExitCode> {
  let since = from
  let seen: 'never' | 'there' | 'gone' = 'never'
  for (;;) {
    try {
      for await (const event of admin.events(queryOf(call, { kinds: 'record,step,output', since }))) {
        seen = 'there'
        if (event.kind === 'record') since = event.record.seq
        if (event.kind === 'live') since = event.seq
        if (!print(call, event)) return EXIT.done
      }
    } catch (error) {
      // Where it was never reached, it is not there rather than about to come back.
      if (seen === 'never' || !isPassing(error)) throw error
      if (seen === 'there') call.stderr.write(`${messageOf(error)} Going on as soon as it is back.\n`)
      seen = 'gone'
    }
    await pause(AGAIN_MS)
  }
}

const isPassing = (error: unknown): boolean =>
  error instanceof ProblemAnswer ? error.problem.retryable : error instanceof Failure

function queryOf(call: Call, query: Record<string, string | number | undefined>): Record<string, string> {
  const given = { ...query, service: setting(call, 'service', 'SLOTGATE_SERVICE') }
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  )
}

/** @returns false when nobody reads it any more */
function print(call: Call, event: FeedEvent): boolean {
  const line = wantsJson(call)
    ? JSON.stringify(event)
    : printEvent(readable(event), styleFor(call.stdout, call.env))
  if (line !== null) call.stdout.write(`${line}\n`)
  return call.stdout.writable !== false
}
