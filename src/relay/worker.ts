// A worker thread of the front door: one door of its own on the port that all share, told what to do by the main thread.
import { parentPort, workerData } from 'node:worker_threads'
import { messageOf, SlotgateError } from '../errors.ts'
import { createLines, type Lines } from '../lines.ts'
import { createLogger } from '../log.ts'
import { openTable } from '../slots/table.ts'
import { Counter } from './counter.ts'
import { createDoor } from './door.ts'
import type { Birth, Call, FromWorker, Sink, ToWorker } from './messages.ts'

/** A line of the log is at most so late, and a busy thread sends a few chunks instead of thousands of lines. */
const GATHER_MS = 20

if (!parentPort) throw new Error('this file runs as a worker thread')
const main = parentPort
const { relay, services, passSecret, buffer, layout, cells, worker, logLevel } = workerData as Birth

const taken = new Map<Sink, () => void>()
const linesTo = (sink: Sink): Lines =>
  createLines({
    gatherMs: GATHER_MS,
    send(chunk, done) {
      taken.set(sink, done)
      say({ kind: 'lines', sink, lines: chunk })
    },
  })
const lines = linesTo('log')
const spans = linesTo('spans')
const log = createLogger(logLevel, lines)
const table = openTable(buffer, layout)
const counter = new Counter(cells, layout, worker)
const door = createDoor({ relay, services, passSecret, table, worker, counter, log, lines, spans })

// One connection's bug must not end those of all others.
process.on('uncaughtException', (error) => {
  log.fatal({ err: error, code: 'internal_error', worker }, messageOf(error))
  sendRest()
})
process.on('exit', sendRest)
main.on('message', (message: ToWorker) => {
  if (message.kind === 'call') void answer(message)
  else taken.get(message.sink)?.()
})
say({ kind: 'ready' })

async function answer(call: Call): Promise<void> {
  const { id } = call
  try {
    say({ kind: 'done', id, value: await act(call) })
  } catch (error) {
    const { code, facts } =
      error instanceof SlotgateError
        ? error
        : new SlotgateError('internal_error', { detail: messageOf(error) }, { cause: error })
    say({ kind: 'failed', id, code, facts })
  }
}

function act(call: Call): unknown {
  switch (call.name) {
    case 'open': {
      const [at, options, { services, backends }] = call.args
      door.setServices(services)
      for (const { service, slot, backend } of backends) door.setBackend(service, slot, backend)
      return door.listen(at, options)
    }
    case 'setServices':
      return door.setServices(...call.args)
    case 'setBackend': {
      const [{ service, slot, backend }] = call.args
      return door.setBackend(service, slot, backend)
    }
    case 'letIn':
      return door.letIn(...call.args)
    case 'cut':
      return door.cut(...call.args)
    case 'forget':
      return door.forget(...call.args)
    case 'close':
      // The last lines leave before the answer: the thread ends with it.
      return door.close(...call.args).finally(sendRest)
  }
}

function sendRest(): void {
  for (const [sink, sent] of [
    ['log', lines],
    ['spans', spans],
  ] as const) {
    const rest = sent.takeRest()
    if (rest) say({ kind: 'lines', sink, lines: rest })
  }
}

function say(message: FromWorker): void {
  main.postMessage(message)
}
