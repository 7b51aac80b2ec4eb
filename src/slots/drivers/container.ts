// A container that runs a release, followed from when it was started, or found again, to its end: how it ends is told, what
// it writes is logged, each line once, also over two slotgates.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { waitFor, within } from '../../wait.ts'
import { outputFolder } from '../output.ts'
import { OutputLines, type OutputLinesOptions } from '../output-lines.ts'
import { environmentFrom } from '../proc.ts'
import { type Engine, type EngineCall, isGone, isUnderWay } from './engine.ts'

/** An engine that is started again answers within seconds. */
const ASK_AGAIN_MS = 500
/** The last lines of a container that has ended are there already. */
const LAST_LINES_WITHIN_MS = 2_000
/** How long at least between two marks: with one for each line, an app that writes much would keep this thread at the disk. */
const MARK_EVERY_MS = 50
/** A kill takes the engine a moment. */
const KILL_WITHIN_MS = 20_000

/** What the engine says of a container, as far as it matters here. */
export interface ContainerState {
  id: string
  running: boolean
  /** On the machine of the engine. */
  pid: number | null
  /** Another one after each start. */
  startedAt: string
  exitCode: number
  outOfMemory: boolean
  /** What it was started with. */
  environment: ReadonlyMap<string, string>
}

interface Inspected {
  Id: string
  State: { Running: boolean; Pid: number; StartedAt: string; ExitCode: number; OOMKilled: boolean }
  Config: { Env: string[] | null }
}

/** @returns null where the engine knows no such container */
export async function inspect(engine: Engine, id: string): Promise<ContainerState | null> {
  try {
    const { Id, State, Config } = (await engine.ask({
      method: 'GET',
      path: `/containers/${id}/json`,
    })) as Inspected
    return {
      id: Id,
      running: State.Running,
      pid: State.Pid || null,
      startedAt: State.StartedAt,
      exitCode: State.ExitCode,
      outOfMemory: State.OOMKilled,
      environment: environmentFrom(Config.Env ?? []),
    }
  } catch (error) {
    if (isGone(error)) return null
    throw error
  }
}

/** Ends what runs in a container, by the image's own stop signal, and SIGKILL after the time. */
export const stopContainer = (engine: Engine, id: string, withinMs: number): Promise<void> =>
  askUnlessGone(engine, {
    method: 'POST',
    path: `/containers/${id}/stop?t=${Math.ceil(withinMs / 1_000)}`,
    withinMs: withinMs + KILL_WITHIN_MS,
  })

/** With the volumes that have no name. Another may be at it already: the drivers of two services, say, that end what is left over. */
export const removeContainer = (engine: Engine, id: string): Promise<void> =>
  askUnlessGone(engine, { method: 'DELETE', path: `/containers/${id}?force=1&v=1` })

async function askUnlessGone(engine: Engine, call: EngineCall): Promise<void> {
  await engine.ask(call).catch((error) => {
    if (!isGone(error) && !isUnderWay(error)) throw error
  })
}

export interface FollowOptions extends OutputLinesOptions {
  engine: Engine
  container: ContainerState
  bootId: string
  stateDir: string
  log: Logger
}

export class Container {
  readonly #options: FollowOptions
  readonly #output: OutputLines
  readonly #calledOff = new AbortController()
  /** When the last line was written that is logged; on the disk, so that the next slotgate goes on there. */
  readonly #mark: string
  #loggedUpTo: string
  #marking: NodeJS.Timeout | undefined
  #lastStream = 0
  readonly #reading: Promise<void>
  /** Resolves with how it ended; never once it was let go. */
  readonly exited: Promise<string>

  constructor(options: FollowOptions) {
    const folder = outputFolder(options.stateDir)
    this.#options = options
    this.#output = new OutputLines(options)
    this.#mark = join(folder, `${options.bootId}.read`)
    this.#loggedUpTo = readMark(this.#mark)
    this.#reading = this.#readOn()
    this.exited = new Promise((resolve) => {
      void this.#whenEnded().then((how) => how !== null && resolve(how))
    })
  }

  /** The last lines, oldest first. */
  get lines(): string[] {
    return this.#output.kept
  }

  /** Ends it and removes it. What an engine that is away leaves running is ended by the next start of slotgate. */
  async stop(withinMs: number): Promise<void> {
    const { engine, container, log } = this.#options
    try {
      await stopContainer(engine, container.id, withinMs)
      await within(this.#reading, LAST_LINES_WITHIN_MS)
      await removeContainer(engine, container.id)
    } catch (error) {
      log.error({ container: container.id, err: error }, `a container was not removed: ${messageOf(error)}`)
    }
    this.letGo()
    rmSync(this.#mark, { force: true })
  }

  letGo(): void {
    this.#calledOff.abort()
    clearTimeout(this.#marking)
    if (this.#marking !== undefined) this.#writeMark()
  }

  /** @returns null when it was let go before */
  async #whenEnded(): Promise<string | null> {
    const { engine, container } = this.#options
    const { signal } = this.#calledOff
    const wait = { method: 'POST', path: `/containers/${container.id}/wait`, withinMs: 0, signal } as const
    while (!signal.aborted) {
      // An engine that goes away says nothing of what it ran; it is asked again once it is back.
      const isOver = await engine.ask(wait).then(() => true, isGone)
      const state = isOver ? await inspect(engine, container.id).catch(() => undefined) : undefined
      if (state === null) return 'an exit code that nobody saw, since its container was removed'
      if (state && state.startedAt !== container.startedAt)
        return 'an exit code that nobody saw, since somebody started its container anew'
      if (state && !state.running) return howEnded(state)
      await waitFor(ASK_AGAIN_MS, signal)
    }
    return null
  }

  /** Reads what it writes, until it has ended. */
  async #readOn(): Promise<void> {
    const { engine, container } = this.#options
    const { signal } = this.#calledOff
    if (this.#loggedUpTo !== '') await this.#rememberTail().catch(() => {})
    while (!signal.aborted) {
      const isRead = await this.#readStream().then(() => true, isGone)
      const state = isRead ? await inspect(engine, container.id).catch(() => undefined) : undefined
      if (state === null || (state && !state.running)) break
      await waitFor(ASK_AGAIN_MS, signal)
    }
    this.#output.end()
  }

  async #rememberTail(): Promise<void> {
    const { engine } = this.#options
    const lines: string[] = []
    for await (const { time, text } of framesOf(engine.follow(this.#logs('tail=200')))) {
      if (time <= this.#loggedUpTo) lines.push(text.toString('utf8').trimEnd())
    }
    this.#output.remember(lines)
  }

  async #readStream(): Promise<void> {
    const { engine } = this.#options
    const since = secondsOf(this.#loggedUpTo)
    for await (const { stream, time, text } of framesOf(
      engine.follow(this.#logs(`follow=1&since=${since}`)),
    )) {
      if (time <= this.#loggedUpTo) continue
      // A line of the one that has no end yet must not go on with one of the other.
      if (stream !== this.#lastStream) this.#output.end()
      this.#lastStream = stream
      this.#output.add(text)
      // The pieces of a long line have one time; only with its end all of them are there.
      if (text.at(-1) === NEWLINE) this.#markAt(time)
    }
  }

  #logs(query: string): EngineCall {
    const { id } = this.#options.container
    const path = `/containers/${id}/logs?stdout=1&stderr=1&timestamps=1&${query}`
    return { method: 'GET', path, signal: this.#calledOff.signal }
  }

  #markAt(time: string): void {
    this.#loggedUpTo = time
    if (this.#marking === undefined) this.#writeMark()
  }

  #writeMark(): void {
    const written = this.#loggedUpTo
    this.#marking = setTimeout(() => {
      this.#marking = undefined
      if (this.#loggedUpTo !== written) this.#writeMark()
    }, MARK_EVERY_MS).unref()
    try {
      writeFileSync(this.#mark, this.#loggedUpTo, { mode: 0o600 })
    } catch {
      // On a full disk the next slotgate may log some lines once more.
    }
  }
}

function readMark(file: string): string {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** @param time as the engine writes it, with nanoseconds: `2026-11-23T07:41:00.687407736Z`; or empty, for the beginning */
function secondsOf(time: string): string {
  const [whole = '', fraction = ''] = time.split(/[.Z]/)
  return time === '' ? '0' : `${Date.parse(`${whole}Z`) / 1_000}.${fraction || '0'}`
}

function howEnded({ exitCode, outOfMemory }: ContainerState): string {
  const signal = Object.entries(constants.signals).find(([, number]) => exitCode === 128 + number)?.[0]
  const more = [...(signal ? [signal] : []), ...(outOfMemory ? ['it used more memory than it may'] : [])]
  return `exit code ${exitCode}${more.length > 0 ? ` (${more.join(': ')})` : ''}`
}

const NEWLINE = 10
const HEADER_BYTES = 8

/** What was written at once, or a piece of a long line. */
interface Frame {
  /** 1 is stdout, 2 is stderr. */
  stream: number
  time: string
  text: Buffer
}

/** Takes the engine's stream apart: before each text come its stream, its length, and within that its time. */
async function* framesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let rest = Buffer.alloc(0)
  for await (const chunk of chunks) {
    rest = Buffer.concat([rest, chunk])
    for (let end = frameEnd(rest); end <= rest.length; end = frameEnd(rest)) {
      const content = rest.subarray(HEADER_BYTES, end)
      const space = content.indexOf(' ')
      yield {
        stream: rest[0] ?? 0,
        time: content.toString('latin1', 0, space),
        text: content.subarray(space + 1),
      }
      rest = rest.subarray(end)
    }
  }
}

const frameEnd = (bytes: Buffer): number =>
  bytes.length < HEADER_BYTES ? Number.POSITIVE_INFINITY : HEADER_BYTES + bytes.readUInt32BE(4)
