// The worker threads that a test's own process starts: who they are, and what only a debugger can make them do.
import { Session } from 'node:inspector'
import type { Worker } from 'node:worker_threads'
import { Looks } from './looks.ts'
import type { Scope } from './scope.ts'

export interface Threads {
  /** All that were started since, oldest first. */
  readonly started: readonly Worker[]
  /** Resolves with the first one after this many, already started or to come. */
  after(count: number): Promise<Worker>
  /** Runs JavaScript in a thread; resolves when it has begun. */
  run(thread: Worker, script: string): Promise<void>
}

interface Attached {
  params: { sessionId: string; workerInfo: { title: string } }
}

/** Watches from now on, until the test ends. */
export function watchThreads(t: Scope): Threads {
  const started: Worker[] = []
  const looks = new Looks()
  const session = new Session()
  const sessions = new Map<string, string>()
  let runs = 0
  const onWorker = (thread: Worker) => {
    started.push(thread)
    looks.again()
  }
  process.on('worker', onWorker)
  t.teardown(() => {
    process.off('worker', onWorker)
    session.disconnect()
  })
  session.connect()
  session.on('NodeWorker.attachedToWorker', ({ params }: Attached) =>
    sessions.set(/\d+/.exec(params.workerInfo.title)?.[0] ?? '', params.sessionId),
  )
  return {
    started,
    after: (count) => looks.until(() => started[count]),
    async run(thread, script) {
      const name = `test-${++runs}`
      const channel = new BroadcastChannel(name)
      const begun = new Promise((resolve) => {
        channel.onmessage = resolve
      })
      session.post('NodeWorker.enable', { waitForDebuggerOnStart: false })
      const sessionId = sessions.get(String(thread.threadId)) ?? ''
      const params = {
        expression: `setImmediate(() => { new BroadcastChannel('${name}').postMessage(0); ${script} })`,
      }
      const message = JSON.stringify({ id: 1, method: 'Runtime.evaluate', params })
      session.post('NodeWorker.sendMessageToWorker', { sessionId, message })
      // Left attached, the debugger would keep a thread that is out of memory from ending.
      session.post('NodeWorker.disable')
      sessions.clear()
      await begun
      channel.close()
    },
  }
}

/** Keeps a thread from doing anything else, without load on the machine. */
export const hang = (forMs: number): string =>
  `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${forMs})`
