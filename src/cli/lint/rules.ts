// The rules, each a function from what is looked at to its findings. None of them reads SQL.
import { isUtf8 } from 'node:buffer'
import { posix } from 'node:path'
import type { Range } from '../../contract.ts'
import { messageOf } from '../../errors.ts'
import {
  COMPAT,
  checksumOf,
  differingFromSums,
  duplicatesAmong,
  isAside,
  parseCompat,
  SUMS,
  versionOf,
} from '../../migration-files.ts'
import { quoted } from '../shell.ts'
import { type Fresh, isExactly, newestOf, type Plan, planMerge } from './plan.ts'
import { type FileHere, type Finding, RULES, type Rule, type Subject } from './types.ts'

/** @returns what is wrong with the folder, errors first, and worth a second look */
export function judge(subject: Subject): Finding[] {
  const plan = planMerge(subject)
  const findings = [
    ...checkImmutable(subject, plan),
    ...checkScripts(subject, plan),
    ...checkBase(subject, plan),
    ...checkStrangers(subject, plan),
    ...checkKinds(subject),
    ...checkContents(subject),
    ...checkSums(subject),
    ...checkLineEnds(subject),
    ...checkCompat(subject, plan),
    ...warnOfMany(subject, plan),
    ...warnOfMove(subject),
  ]
  return findings.toSorted((a, b) => Number(a.severity === 'warning') - Number(b.severity === 'warning'))
}

const pathOf = ({ folder }: Subject, name: string): string => posix.join(folder, name)

const found = (subject: Subject, rule: Rule, name: string, sentence: string, remedy: string): Finding => ({
  rule,
  severity: RULES[rule].severity,
  file: pathOf(subject, name),
  sentence,
  remedy,
})

/** A path for a shell; one that begins with a dash would be taken for an option. */
const typed = (path: string): string => quoted(path.startsWith('-') ? `./${path}` : path)

const typedPath = (subject: Subject, name: string): string => typed(pathOf(subject, name))

const move = (subject: Subject, from: string, to: string): string =>
  `mv ${typedPath(subject, from)} ${typedPath(subject, to)}`

/** Out of the folder, to where lint was called or one up, under a name that is hardly taken there. */
const moveOut = (subject: Subject, name: string): string =>
  `mv ${typedPath(subject, name)} ${typed(posix.join(subject.folder === '.' ? '..' : '.', `from-migrations-${name}`))}`

const onBase = ({ base }: Subject, names: readonly string[]): string =>
  `${names.join(' and ')} on ${base?.ref ?? 'the base'}`

const WIDTH = 3
/** So many digits are a point in time, and no width. */
const TOO_WIDE = 14

/** The name a script should have, with as many digits as it has now. */
function nameWith(number: number, name: string): string {
  const [, digits = '', rest = ''] = /^(\d*)_?(.*)\.sql$/i.exec(name) ?? []
  const width = digits.length < TOO_WIDE ? Math.max(WIDTH, digits.length) : WIDTH
  const words = rest
    .toLowerCase()
    .replace(/[^a-z0-9_]+/g, '_')
    .replace(/^_+|_+$/g, '')
  return `${String(number).padStart(width, '0')}_${words || 'migration'}.sql`
}

/** Typed one after the other, no move lands on a file that has yet to move. */
function inTurn(fresh: readonly Fresh[]): Fresh[] {
  const movesUp = ({ number, next }: Fresh) => number !== undefined && next > number
  return [...fresh.filter(movesUp).toReversed(), ...fresh.filter((script) => !movesUp(script))]
}

const checkScripts = (subject: Subject, plan: Plan): Finding[] =>
  inTurn(plan.fresh).flatMap((script) => [
    ...checkName(subject, script),
    ...checkNumber(subject, plan, script),
  ])

function checkName(subject: Subject, { name, next }: Fresh): Finding[] {
  if (versionOf(name) !== undefined) return []
  const better = nameWith(next, name)
  const sentence = `${name} is not named like ${better}, so it would never run.`
  return [found(subject, 'bad_name', name, sentence, move(subject, name, better))]
}

function checkStrangers(subject: Subject, { fresh }: Plan): Finding[] {
  const planned = new Set(fresh.map(({ name }) => name))
  return [...subject.files.values()]
    .filter(({ name, kind }) => kind !== 'folder' && !isAside(name) && versionOf(name) === undefined)
    .filter(({ name }) => !planned.has(name))
    .map(({ name }) => {
      const sentence = `${name} is no migration, and nothing else belongs in this folder.`
      return found(subject, 'bad_name', name, sentence, moveOut(subject, name))
    })
}

function checkNumber(subject: Subject, { kept, fresh }: Plan, script: Fresh): Finding[] {
  const { name, number, next } = script
  if (number === undefined || number === next) return []
  const remedy = move(subject, name, nameWith(next, name))
  const there = kept.filter((other) => other.number === number).map((other) => other.name)
  const here = fresh.filter((other) => other.number === number && other !== script).map((other) => other.name)
  const others = [...(there.length > 0 ? [onBase(subject, there)] : []), ...here]
  const newest = newestOf(kept)
  const findings: Finding[] = []
  if (others.length > 0) {
    const sentence = `${name} has number ${number}, and so has ${others.join(' and ')}.`
    findings.push(found(subject, 'duplicate_number', name, sentence, remedy))
  }
  if (subject.base && (others.length === 0 || number < newest)) {
    const last = kept.find((other) => other.number === newest)?.name ?? ''
    const sentence = `${name} has number ${number}, but the next one is ${next}: the newest is ${onBase(subject, [last])}.`
    findings.push(found(subject, 'number_not_next', name, sentence, remedy))
  }
  return findings
}

/** Two files of the base itself: both branches were right alone. One of them has to move, by whatever branch comes first. */
function checkBase(subject: Subject, { kept, fresh }: Plan): Finding[] {
  const newest = Math.max(newestOf(kept), ...fresh.map(({ next }) => next))
  const numbered = kept.map(({ name, number }) => ({ name, version: number }))
  return duplicatesAmong(numbered).map(([version, group], index) => {
    const names = group.map(({ name }) => name).toSorted()
    const last = names.at(-1) ?? ''
    const sentence = `Number ${version} is that of ${onBase(subject, names)}. The one that has not run has to move; schema_migrations knows.`
    const rename = move(subject, last, nameWith(newest + 1 + index, last))
    const remedy = subject.files.has(last)
      ? rename
      : `git merge ${typed(subject.base?.ref ?? '')} && ${rename}`
    return found(subject, 'duplicate_number', last, sentence, remedy)
  })
}

function checkImmutable(subject: Subject, { changed, gone, unknown }: Plan): Finding[] {
  const { ref = '', moved } = subject.base ?? {}
  const because = `is on ${ref}, so it may have run already`
  const there = (name: string) => typed(`${ref}:./${posix.join(subject.folder, moved?.there ?? '', name)}`)
  const restore = (name: string) =>
    moved
      ? `git show ${there(name)} > ${typedPath(subject, name)}`
      : `git checkout ${typed(ref)} -- ${typedPath(subject, name)}`
  return [
    ...changed.map((name) => {
      const sentence = `${name} ${because}, and is changed here. It stays as it is; a change goes into a new migration.`
      const patch = typed(`${name.replace(/\.sql$/, '')}.patch`)
      const before = moved ? there(name) : `${typed(ref)} --`
      const remedy = `git diff ${before} ${typedPath(subject, name)} > ${patch}; ${restore(name)}`
      return found(subject, 'immutable_changed', name, sentence, remedy)
    }),
    ...gone.map(({ name, rival, renamedTo }) => {
      if (rival !== undefined) {
        const sentence = `${name} leaves its number to ${onBase(subject, [rival])}. Right if ${name} has not run anywhere; schema_migrations knows.`
        return found(subject, 'duplicate_repaired', name, sentence, `If it has run: ${restore(name)}`)
      }
      if (renamedTo !== undefined) {
        const sentence = `${name} ${because}, and is renamed to ${renamedTo} here. It stays as it is.`
        return found(subject, 'immutable_changed', name, sentence, move(subject, renamedTo, name))
      }
      const sentence = `${name} ${because}, and is deleted here. It stays as it is; what takes it back is a new migration.`
      return found(subject, 'immutable_changed', name, sentence, restore(name))
    }),
    ...unknown.map((name) => {
      const sentence = `${name} is on ${ref} and not here. This clone is too shallow to tell whether it was deleted or is yet to be merged.`
      return found(subject, 'history_missing', name, sentence, 'git fetch --unshallow')
    }),
  ]
}

function checkKinds(subject: Subject): Finding[] {
  return [...subject.files.values()]
    .filter(({ name, kind }) => kind !== 'file' && !name.startsWith('.'))
    .map(({ name, kind }) => {
      const path = typedPath(subject, name)
      const remedy =
        kind === 'folder' ? moveOut(subject, name) : `cp ${path} ${path}.tmp && mv ${path}.tmp ${path}`
      return found(subject, 'not_regular', name, `${name} is a ${kind}, not a file.`, remedy)
    })
}

/** Contents that the base has cannot be mended any more. */
function checkContents(subject: Subject): Finding[] {
  return [...subject.files.values()]
    .filter(({ name, kind }) => kind === 'file' && !isAside(name) && name.endsWith('.sql'))
    .filter((file) => !isExactly(file, subject.base?.tip.get(file.name)))
    .flatMap((file) => checkBytes(subject, file))
}

const BOM = Buffer.from([0xef, 0xbb, 0xbf])
const isUtf16 = (bytes: Buffer): boolean => ['fffe', 'feff'].includes(bytes.toString('hex', 0, 2))

function checkBytes(subject: Subject, { name, bytes }: FileHere): Finding[] {
  const path = typedPath(subject, name)
  const filter = (command: string) => `${command} < ${path} > ${path}.tmp && mv ${path}.tmp ${path}`
  const say = (rule: Rule, sentence: string, remedy: string) => [found(subject, rule, name, sentence, remedy)]
  if (!isUtf8(bytes)) {
    const encoding = isUtf16(bytes) ? 'UTF-16' : 'ISO-8859-1'
    return say(
      'not_utf8',
      `${name} is not UTF-8; it looks like ${encoding}.`,
      filter(`iconv -f ${encoding} -t UTF-8`),
    )
  }
  if (bytes.toString().trim() === '') return say('empty_file', `${name} has nothing in it.`, `rm ${path}`)
  return [
    ...(bytes.subarray(0, BOM.length).equals(BOM)
      ? say('has_bom', `${name} begins with a byte order mark.`, filter('tail -c +4'))
      : []),
    ...(bytes.includes('\r')
      ? say('not_lf', `${name} has carriage returns; lines end with LF alone.`, filter("tr -d '\\r'"))
      : []),
  ]
}

const scriptsHere = ({ files }: Subject): FileHere[] =>
  [...files.values()].filter(({ name, kind }) => kind === 'file' && versionOf(name) !== undefined)

const NAMED_AT_MOST = 5

function listed(names: readonly string[]): string {
  const more = names.length - NAMED_AT_MOST
  return `${names.slice(0, NAMED_AT_MOST).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

function checkSums(subject: Subject): Finding[] {
  const { files, base, writeSums } = subject
  const scripts = scriptsHere(subject).map(({ name, bytes }) => ({ name, checksum: checksumOf(bytes) }))
  const sums = files.get(SUMS)
  if (sums !== undefined) {
    const names = differingFromSums(sums.bytes.toString(), scripts)
    const sentence = `${SUMS} does not match ${listed(names)}.`
    return names.length === 0 ? [] : [found(subject, 'sums_out_of_date', SUMS, sentence, writeSums)]
  }
  if (base?.tip.has(SUMS) && (base.fork?.has(SUMS) ?? true)) {
    return [found(subject, 'sums_out_of_date', SUMS, `${onBase(subject, [SUMS])} is gone here.`, writeSums)]
  }
  const sentence = `Without ${SUMS}, git merges two branches that both add the same number.`
  return scripts.length === 0 ? [] : [found(subject, 'sums_missing', SUMS, sentence, writeSums)]
}

const ATTRIBUTES = '.gitattributes'

function checkLineEnds(subject: Subject): Finding[] {
  if (subject.keepsLineEnds) return []
  const sentence = 'git may check the scripts out with other line ends, and so with other checksums.'
  const remedy = `printf '\\n%s\\n' '*.sql text eol=lf' >> ${typedPath(subject, ATTRIBUTES)}`
  return [found(subject, 'eol_not_set', ATTRIBUTES, sentence, remedy)]
}

function checkCompat(subject: Subject, plan: Plan): Finding[] {
  const newest = newestOf(scriptsHere(subject).map(({ name }) => ({ number: versionOf(name) ?? 0 })))
  const compat = subject.files.get(COMPAT)
  if (compat === undefined) return warnOfMin(subject, plan, { min: newest, max: newest })
  const declare = (min: number): string =>
    `echo '{"min": ${Math.min(min, newest)}, "max": ${newest}}' > ${typedPath(subject, COMPAT)}`
  const say = (rule: Rule, sentence: string, min: number) => [
    found(subject, rule, COMPAT, sentence, declare(min)),
  ]
  let range: Range
  try {
    range = parseCompat(compat.bytes.toString())
  } catch (error) {
    return say('compat_invalid', messageOf(error), newest)
  }
  const { min, max } = range
  if (min > max) return say('range_invalid', `min (${min}) is above max (${max}).`, min)
  if (max < newest) {
    const sentence = `max is ${max}, but the newest file is ${newest}: this release would not survive its own migration.`
    return say('max_below_newest', sentence, min)
  }
  if (max > newest) {
    const sentence = `max is ${max}, but the newest file is ${newest}: it vouches for migrations that nobody has written.`
    return say('max_above_newest', sentence, min)
  }
  return warnOfMin(subject, plan, range)
}

function warnOfMin(subject: Subject, { kept, fresh }: Plan, { min, max }: Range): Finding[] {
  const before = newestOf(kept)
  if (before === 0 || min <= before || fresh.length === 0) return []
  const sentence = `The code needs schema ${min}, which is new: it cannot go live before ${min} has run, and once it has, nobody can go back to the release before.`
  const remedy = `If it works with ${before} as well: echo '{"min": ${before}, "max": ${max}}' > ${typedPath(subject, COMPAT)}`
  return [found(subject, 'min_raised', COMPAT, sentence, remedy)]
}

function warnOfMany(subject: Subject, { kept, fresh }: Plan): Finding[] {
  const [first, ...others] = fresh.map(({ name }) => name)
  const last = others.at(-1)
  if (kept.length === 0 || first === undefined || last === undefined) return []
  const sentence = `${fresh.length} migrations are new: ${listed([first, ...others])}. The way back ends at the first one that does not fit.`
  const remedy = `Put ${listed(others)} on a branch of its own, to be merged when ${first} is live.`
  return [found(subject, 'several_new', last, sentence, remedy)]
}

function warnOfMove(subject: Subject): Finding[] {
  const { folder, base } = subject
  if (base?.moved === undefined) return []
  const { there, by } = base.moved
  const sentence = `These migrations are in ${posix.join(folder, there)} on ${base.ref}, and were compared with those.`
  const remedy =
    by === 'base'
      ? `git merge ${typed(base.ref)}`
      : `Whatever runs them has to look in ${folder} from now on; if nobody meant to move them, move them back.`
  return [found(subject, 'folder_moved', '', sentence, remedy)]
}
