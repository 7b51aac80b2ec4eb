// Counts the tests in the TAP that one file prints. A test is a block with assertions of its own (the file, a `t.test`, one
// nested in it); a block that only groups others is none. What leaves nothing to count (a file that crashes, hangs, or
// runs no test at all) is a failed test.
import type { FinalResults, Parser, Result } from 'tap-parser'

export interface Failure {
  /** From the outermost test inwards; empty for the file itself. */
  readonly path: readonly string[]
  /** What is known about it: `diff`, `stack`, `reason` … */
  readonly details: Readonly<Record<string, unknown>>
}

export interface Tally {
  passed: number
  failed: number
  skipped: number
  failures: Failure[]
}

/** The block that is being read: its own assertions beside the tests within it. */
interface Block extends Tally {
  asserted: boolean
  ownFailures: Failure[]
}

/** How a block ended: a test point closes a subtest, and the end of the process closes a file. */
interface Closing {
  ok: boolean
  skipped: boolean
  details: Failure['details']
}

export function emptyTally(): Tally {
  return { passed: 0, failed: 0, skipped: 0, failures: [] }
}

/** Adds `more` to `tally`; `within` names the block that `more` comes from. */
export function addTally(tally: Tally, more: Tally, ...within: string[]): void {
  tally.passed += more.passed
  tally.failed += more.failed
  tally.skipped += more.skipped
  tally.failures.push(...more.failures.map(({ path, details }) => ({ path: [...within, ...path], details })))
}

/** The line that ends a run. */
export function summaryLine({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

/**
 * Reads the TAP of one file. Call the function it returns when the process has ended.
 *
 * @returns the tests of the file; `problem` says how the process itself failed, if it did
 */
export function readFile(parser: Parser): (problem: string | undefined) => Tally {
  const block = readBlock(parser)
  let results: FinalResults | undefined
  parser.on('complete', (complete: FinalResults) => {
    results = complete
  })
  return (problem) => settle(block, closeFile(results, problem))
}

function closeFile(results: FinalResults | undefined, problem: string | undefined): Closing {
  if (problem) return { ok: false, skipped: false, details: { reason: problem } }
  const { skipAll, skipReason } = results?.plan ?? { skipAll: true, skipReason: '' }
  const ranNothing = skipAll && (!skipReason || skipReason === 'no tests found')
  if (ranNothing) return { ok: false, skipped: false, details: { reason: 'The file ran no test.' } }
  const [failure] = results?.failures ?? []
  return { ok: results?.ok ?? false, skipped: skipAll, details: { ...failure } }
}

function closeBlock({ ok, skip, todo, diag }: Result): Closing {
  return { ok, skipped: Boolean(skip || todo), details: diag ?? {} }
}

/** The test point that closes a subtest comes right after the subtest itself. */
function readBlock(parser: Parser): Block {
  const block: Block = { ...emptyTally(), asserted: false, ownFailures: [] }
  let ended: Block | undefined
  parser.on('child', (child: Parser) => {
    ended = readBlock(child)
  })
  parser.on('assert', (result: Result) => {
    const closing = closeBlock(result)
    if (ended) addTally(block, settle(ended, closing), result.name)
    else addAssertion(block, result.name, closing)
    ended = undefined
  })
  return block
}

/** A subtest that is skipped cannot be told from an assertion that is: either counts. */
function addAssertion(block: Block, name: string, { ok, skipped, details }: Closing): void {
  if (skipped) block.skipped++
  else block.asserted = true
  if (!ok && !skipped) block.ownFailures.push({ path: [name], details })
}

/** What a block comes to, now that it is closed: the tests in it, and itself if it is one. */
function settle(block: Block, { ok, skipped, details }: Closing): Tally {
  const tally = emptyTally()
  addTally(tally, block)
  const isGroup = !block.asserted && tally.passed + tally.failed + tally.skipped > 0
  const failedItself = block.ownFailures.length > 0 || (!ok && !skipped && tally.failed === 0)
  if (failedItself) {
    tally.failed++
    tally.failures.push(...(block.ownFailures.length > 0 ? block.ownFailures : [{ path: [], details }]))
  } else if (!isGroup) skipped ? tally.skipped++ : tally.passed++
  return tally
}
