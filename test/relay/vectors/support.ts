// Plays the request vectors against a relay, and judges what client and app saw (HTTP.md §2.2). In the test's process.
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import {
  type Answer,
  ambiguities,
  completions,
  readAnswers,
  readRequest,
  valuesIn,
} from '../../support/http-bytes.ts'
import { type RecordedRequest, type Recorder, startRecorder } from '../../support/recorder.ts'
import { eventually, followSockets, type OtherEnds, untilRead } from '../../support/turns.ts'
import { type Bench, type Scope, startRelay } from '../support.ts'

export interface RequestVector {
  name: string
  /** Latin-1. */
  raw: string
  group: string
  why: string
  maxForwarded: number
  statuses: number[]
  then?: 'abort-upstream'
}

/** How slotgate names itself in `Via`; the vectors leave it open. */
const PSEUDONYM = 'slotgate'

export const REQUESTS: RequestVector[] = (
  JSON.parse(readFileSync(new URL('../../vectors/requests.json', import.meta.url), 'utf8')) as RequestVector[]
).map((vector) => ({ ...vector, raw: vector.raw.replace('PROXY-PSEUDONYM', PSEUDONYM) }))

/** Requests that are not whole: nothing can come but the answer to their end. */
const UNFINISHED = new Set(['truncated-chunked', 'early-response-large-upload'])

/** Those that hold more than one request. */
const ANSWERS: Record<string, number> = {
  'pipelined-two': 2,
  'pipelined-50': 50,
  'chunked-then-pipelined': 2,
  'post-trailing-crlf': 2,
  'upgrade-pipelined-before-101': 2,
  'upgrade-websocket-pipelined': 2,
}

/** Answered at the front door with a 2xx. */
const LOCAL = new Set(['options-asterisk', 'options-max-forwards-0', 'trace-max-forwards-0'])

const VALID = 'GET /valid HTTP/1.1\r\nHost: a.test\r\n\r\n'

export interface World {
  bench: Bench
  app: Recorder
  ends: OtherEnds
}

export async function startWorld(t: Scope): Promise<World> {
  const ends = followSockets(t)
  const bench = await startRelay(t)
  const app = await startRecorder(t)
  await bench.promote(app.address)
  return { bench, app, ends }
}

/** One connection of a client: what it sends in how many pieces, and what it gets. */
export interface Play {
  bytes: string
  /**
   * Where the bytes are cut; before the next piece is written, the relay has read each one and answered what is whole in
   * them. What comes while it is busy it joins unread, and would read as if nothing had been cut.
   */
  cuts: readonly number[]
  /** Final answers after which the client closes its half. 0: at once. */
  answersWanted: number
  methods?: readonly string[]
  /** How many times the bytes hold the vector; absent: once. */
  copies?: number
}

export interface Played {
  play: Play
  answers: Answer[]
  rest: string
  text: string
  /** How many pieces the relay has read by themselves while it was not busy. */
  apart: number
  /** The connection ended with a reset, or while the client was still writing. */
  broke: string | undefined
  /** No end came in time. */
  hangs: boolean
}

/** Longest wait for more on one connection, or for its end. */
const END_WITHIN_MS = 5_000

/** Sends the bytes, waits for the answers, closes its half, and waits for the end. An error has to be followed by the relay's end. */
export async function playOne(world: World, play: Play): Promise<Played> {
  const socket = connect({ host: '127.0.0.1', port: world.bench.port, allowHalfOpen: true, noDelay: true })
  const seen = {
    text: '',
    /** Whole final answers so far. */
    wholes: 0,
    broke: undefined as string | undefined,
    ended: false,
    written: false,
    finished: false,
    hangs: false,
  }
  const finish = () => {
    if (seen.finished || seen.ended) return
    const { answers } = readAnswers(seen.text, false, play.methods)
    const finals = answers.filter(({ status }) => status >= 200)
    seen.wholes = finals.filter(({ whole }) => whole).length
    if (!seen.written || finals.some(({ status }) => status >= 400)) return
    if (seen.wholes < play.answersWanted) return
    seen.finished = true
    socket.end()
  }
  const over = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      seen.text += chunk.toString('latin1')
      limit.refresh()
      finish()
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      seen.broke = error.code ?? error.message
    })
    socket.once('end', () => {
      seen.ended = true
      socket.destroy()
    })
    socket.once('close', () => {
      seen.ended = true
      resolve()
    })
  })
  const limit = setTimeout(() => {
    seen.hangs = true
    socket.destroy()
  }, END_WITHIN_MS)
  const apart = await write(world, socket, play, seen)
  seen.written = true
  finish()
  await over
  clearTimeout(limit)
  const { answers, rest } = readAnswers(seen.text, !seen.hangs, play.methods)
  return {
    play,
    answers,
    rest,
    text: seen.text,
    apart,
    broke: seen.broke,
    hangs: seen.hangs,
  }
}

/** How many answers the client has when the relay has nothing left to do with the bytes in front of this place. */
function answersDue({ bytes, answersWanted, copies = 1 }: Play, at: number): number {
  const copyLength = bytes.length / copies
  const before = Math.floor(at / copyLength)
  let due = (answersWanted / copies) * before
  for (let from = before * copyLength; from < at; due++) {
    const reading = readRequest(bytes.slice(from, at))
    if (reading.kind !== 'whole') break
    from += reading.request.raw.length
  }
  return due
}

/** @returns how many of the pieces the relay has read by themselves while it was not busy */
async function write(
  world: World,
  socket: Socket,
  play: Play,
  seen: { readonly wholes: number; readonly ended: boolean },
): Promise<number> {
  const { bytes, cuts } = play
  const isOver = () => seen.ended
  let at = 0
  let apart = 0
  let end: Socket | undefined
  for (const cut of [...cuts, bytes.length]) {
    if (at > 0 && end === undefined) {
      await eventually(() => world.ends.accepted(socket) !== undefined || isOver())
      end = world.ends.accepted(socket)
    }
    if (isOver()) break
    if (end && (await untilRead(end, at, isOver))) {
      const due = answersDue(play, at)
      if (await eventually(() => seen.wholes >= due || isOver())) apart++
    }
    if (!socket.destroyed) socket.write(Buffer.from(bytes.slice(at, cut), 'latin1'))
    at = cut
  }
  return apart
}

/** Plays all of them, so many at a time, results in the order of the plays. */
export async function playAll(world: World, plays: readonly Play[], atOnce = 24): Promise<Played[]> {
  const played: Played[] = []
  const left = plays.entries()
  await Promise.all(
    Array.from({ length: Math.min(atOnce, plays.length) }, async () => {
      for (const [nth, play] of left) played[nth] = await playOne(world, play)
    }),
  )
  return played
}

export const wholePlay = (vector: RequestVector): Play => ({
  bytes: vector.raw,
  cuts: [],
  methods: vector.raw.startsWith('HEAD ') ? ['HEAD'] : [],
  answersWanted: UNFINISHED.has(vector.name) ? 0 : (ANSWERS[vector.name] ?? 1),
})

export const behindValid = (vector: RequestVector): Play => {
  const { answersWanted, cuts, methods = [] } = wholePlay(vector)
  return { bytes: VALID + vector.raw, cuts, methods: ['GET', ...methods], answersWanted: answersWanted + 1 }
}

/** The copies that follow each other on one connection hold no more requests than this, or no more than one copy does. */
const REQUESTS_AT_ONCE = 25

/** Whether the relay took this for a request like any other, and waits for the next one. */
const isKept = ({ play, answers, hangs }: Played): boolean =>
  !hangs &&
  play.answersWanted > 0 &&
  answers.length === play.answersWanted &&
  answers.every(
    ({ status, fields }) =>
      status >= 200 && status < 400 && !valuesIn(fields, 'connection').includes('close'),
  )

/**
 * The vector in two pieces, cut at each of these places. A vector that ends its connection has one of its own each time; of
 * the others, copies that are cut at different places follow each other on one.
 *
 * @param whole how the vector fared that was not cut
 */
export function cutPlays({ raw }: RequestVector, whole: Played, cuts: readonly number[]): Play[] {
  const { methods = [], answersWanted } = whole.play
  const atOnce = isKept(whole) ? Math.ceil(REQUESTS_AT_ONCE / answersWanted) : 1
  return Array.from({ length: Math.ceil(cuts.length / atOnce) }, (_, nth) => {
    const some = cuts.slice(nth * atOnce, (nth + 1) * atOnce)
    return {
      bytes: raw.repeat(some.length),
      cuts: some.flatMap((cut, copy) => [copy * raw.length, copy * raw.length + cut]).slice(1),
      methods: some.flatMap(() => methods),
      answersWanted: answersWanted * some.length,
      copies: some.length,
    }
  })
}

/**
 * Everything that is wrong with how these connections went; they all sent the bytes of this vector.
 * The numbers are those of the assertions in HTTP.md §2.2; (7) is what the plays are made of.
 */
export async function judge(
  world: World,
  vector: RequestVector,
  played: readonly Played[],
): Promise<string[]> {
  const problems: string[] = []
  for (const one of played) problems.push(...judgeClient(vector, one))
  problems.push(...(await judgeApp(world, vector, played)))
  problems.push(...(await judgeAfter(world)))
  world.app.forget()
  return [...new Set(problems)]
}

const shown = (text: string) => JSON.stringify(text.length > 600 ? `${text.slice(0, 600)}…` : text)

/** What the client saw: (1), one answer for the bad request, nothing read behind it. */
function judgeClient({ statuses, maxForwarded }: RequestVector, one: Played): string[] {
  const { play, rest, text, broke, hangs } = one
  const cuts = play.cuts.length > 3 ? `${play.cuts.length} pieces` : play.cuts.join(',')
  const say = (what: string) => `${what}${cuts && ` (cut at ${cuts})`}: client got ${shown(text)}`
  const problems: string[] = []
  const isBehind = play.bytes.startsWith(VALID)
  // The client closes its half only where no error was answered: then the relay has to.
  if (hangs) problems.push(say('the connection did not end'))
  if (rest !== '') problems.push(say(`unreadable ${shown(rest)}`))
  const valid = isBehind ? one.answers[0] : undefined
  const behind = one.answers.slice(isBehind ? 1 : 0)
  if (isBehind && !(valid?.status === 200 && valid.body.startsWith('GET /valid '))) {
    problems.push(say('(7) the valid request in front was not answered'))
  }
  // A client that still writes gets the answer all the same if the relay closes in stages (RFC 9112 §9.6).
  if (behind.length === 0) problems.push(say(`(1) no answer${broke ? `, lost to ${broke}` : ''}`))
  for (const { status, whole, fields } of behind) {
    if (!statuses.includes(status)) problems.push(say(`(1) status ${status}`))
    if (!whole) problems.push(say('an answer that is not whole'))
    if (valuesIn(fields, 'date').length !== 1) problems.push(status >= 200 ? say('not one Date') : '')
  }
  const bad = behind.findIndex(({ status }) => status >= 400)
  if (bad >= 0 && bad !== behind.length - 1) problems.push(say('an answer behind an error'))
  const relayed = behind.filter(({ fields }) => valuesIn(fields, 'x-serial').length > 0)
  if (relayed.length > maxForwarded * (play.copies ?? 1))
    problems.push(say(`(2) ${relayed.length} answers of the app`))
  return problems.filter((problem) => problem !== '')
}

/** What the app saw: (2), (3), (4), and that what was begun and refused is broken off. */
async function judgeApp({ app }: World, vector: RequestVector, played: readonly Played[]): Promise<string[]> {
  const problems: string[] = []
  const requests = app.requests.filter(({ target }) => target !== '/valid')
  const begun = app.connections.filter(({ rest, wrong }) => rest !== '' || wrong !== undefined)
  const copies = played.reduce((sum, { play }) => sum + (play.copies ?? 1), 0)
  const most = vector.maxForwarded * copies
  if (requests.length + begun.length > most) {
    problems.push(
      `(2) the app saw ${requests.length} whole and ${begun.length} begun requests, at most ${most} may be`,
    )
  }
  for (const { wrong, rest } of begun) {
    if (wrong !== undefined) problems.push(`(3) the app got ${shown(rest)}: ${wrong}`)
    else problems.push(...completions(rest).map((one) => `(3) ${one}`))
  }
  for (const request of requests) problems.push(...ambiguities(request).map((one) => `(3) ${one}`))
  if (vector.maxForwarded < 2 && requests.some(({ target }) => target.startsWith('/smuggled'))) {
    problems.push('(4) /smuggled reached the app as a request')
  }
  problems.push(...judgeOwners(vector, requests, played))
  if (!(await eventually(() => begun.every(({ isClosed }) => isClosed)))) {
    problems.push(
      `a request that was begun is neither whole nor broken off: ${shown(begun.find((one) => !one.isClosed)?.rest ?? '')}`,
    )
  }
  return problems
}

/** Each whole request at the app belongs to exactly one answer of a client, and the other way round. */
function judgeOwners(
  vector: RequestVector,
  requests: readonly RecordedRequest[],
  played: readonly Played[],
): string[] {
  const problems: string[] = []
  const answered = new Map<string, Answer>()
  for (const answer of played.flatMap(({ answers }) => answers)) {
    const [serial] = valuesIn(answer.fields, 'x-serial')
    if (answer.body.startsWith('GET /valid ')) continue
    if (serial === undefined) {
      if (answer.status >= 200 && answer.status < 300 && !LOCAL.has(vector.name))
        problems.push('a 2xx that is not of the app')
      continue
    }
    if (answered.has(serial)) problems.push(`two answers with the serial ${serial}`)
    answered.set(serial, answer)
  }
  for (const { serial, method, target, raw } of requests) {
    const body = answered.get(String(serial))?.body
    if (body !== `${method} ${target} #${serial}`) {
      problems.push(
        `the app answered ${shown(raw)}, a client got ${body === undefined ? 'nothing' : shown(body)}`,
      )
    }
  }
  if (answered.size > requests.length) problems.push('an answer of the app without a request')
  return problems
}

let canaries = 0

/** (5) and (6): the next client gets its own answer, and nothing is counted that has ended. */
async function judgeAfter(world: World): Promise<string[]> {
  const problems: string[] = []
  const target = `/canary/${++canaries}`
  const bytes = `GET ${target} HTTP/1.1\r\nHost: a.test\r\n\r\n`
  const canary = await playOne(world, { bytes, cuts: [], answersWanted: 1 })
  const [answer, ...more] = canary.answers
  if (
    answer?.status !== 200 ||
    !answer.body.startsWith(`GET ${target} #`) ||
    more.length > 0 ||
    canary.rest !== ''
  ) {
    problems.push(`(5) the canary got ${shown(canary.text)}`)
  }
  if (!(await eventually(() => world.bench.claims() === 0)))
    problems.push(`(6) ${world.bench.claims()} claims are left`)
  return problems
}
