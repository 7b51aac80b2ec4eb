// What a lint looks at, and what it finds.

/** Names in the migrations folder of a commit, each with git's id of its contents. */
export type Listing = ReadonlyMap<string, string>

/** The branch that this one will be merged into. */
export interface Base {
  /** As it was named: `origin/main`. */
  ref: string
  tip: Listing
  /** The folder where this branch left the base; undefined where a shallow clone does not know. */
  fork: Listing | undefined
  /** Where the folder has moved: what is listed above is that of the other place. */
  moved?: Moved
}

/** The folder has two places: here, and on the base. */
export interface Moved {
  /** On the base, as a path from here. */
  there: string
  by: 'base' | 'branch'
}

export interface FileHere {
  name: string
  kind: 'file' | 'link' | 'folder'
  bytes: Buffer
}

export type FilesHere = ReadonlyMap<string, FileHere>

/** All that the rules look at. */
export interface Subject {
  /** The folder as its files are named to the reader: a path from where lint was called. */
  folder: string
  files: FilesHere
  /** Undefined outside of a git repository, or where none was wanted. */
  base: Base | undefined
  /** Whether git checks scripts out with the bytes they were committed with; true where there is no git. */
  keepsLineEnds: boolean
  /** The call that writes `SUMS` and lints again. */
  writeSums: string
}

/** Every rule: how much weight it has and what it is about. docs/lint.md is held to it. */
export const RULES = {
  bad_name: {
    severity: 'error',
    about:
      'a name that is not like `044_add_notes.sql`; it would never run. Nothing else belongs in the folder',
  },
  duplicate_number: {
    severity: 'error',
    about: 'two files with one number, here or together with the base; 88 and 088 are the same number',
  },
  number_not_next: {
    severity: 'error',
    about: 'a new number that does not follow the newest one of the base: too late, or with a gap',
  },
  immutable_changed: {
    severity: 'error',
    about: 'a migration of the base that is changed, deleted or renamed; it may have run',
  },
  history_missing: {
    severity: 'error',
    about: 'a shallow clone, and so nobody can tell whether a file of the base was deleted or is yet to come',
  },
  sums_out_of_date: { severity: 'error', about: '`SUMS` does not list the files as they are' },
  not_utf8: { severity: 'error', about: 'a script that is not UTF-8' },
  has_bom: { severity: 'error', about: 'a script that begins with a byte order mark' },
  not_lf: { severity: 'error', about: 'a script with other line ends than LF' },
  empty_file: { severity: 'error', about: 'a script without anything in it' },
  not_regular: { severity: 'error', about: 'a link or a folder in place of a file' },
  eol_not_set: {
    severity: 'error',
    about: 'no `eol=lf` in `.gitattributes`: git may check scripts out with other bytes, so other checksums',
  },
  compat_invalid: {
    severity: 'error',
    about: '`compat.json` is not `{"min": …, "max": …}` with whole numbers of 0 or more',
  },
  range_invalid: { severity: 'error', about: 'a min above the max' },
  max_below_newest: {
    severity: 'error',
    about: 'a max below the newest file: the release would not survive its own migration',
  },
  max_above_newest: {
    severity: 'error',
    about: 'a max above the newest file: it vouches for a migration that nobody has written',
  },
  several_new: { severity: 'warning', about: 'more than one new migration at once' },
  min_raised: {
    severity: 'warning',
    about:
      'a min that only a new migration reaches: migrate before promoting, and no way back to the release before',
  },
  sums_missing: {
    severity: 'warning',
    about: 'no `SUMS`, with which two branches that both add 044 conflict in git',
  },
  folder_moved: {
    severity: 'warning',
    about: 'a folder that is in another place on the base; it is compared with that one',
  },
  duplicate_repaired: {
    severity: 'warning',
    about: 'a file of the base leaves a number that another one has too: right if it has not run anywhere',
  },
} as const satisfies Record<string, { severity: 'error' | 'warning'; about: string }>

export type Rule = keyof typeof RULES

export interface Finding {
  rule: Rule
  severity: 'error' | 'warning'
  /** A path from where lint was called. */
  file: string
  sentence: string
  /** What mends it: nearly always a command that can be typed as it is. */
  remedy: string
}

export interface LintResult {
  /** No errors; there may be warnings. */
  ok: boolean
  folder: string
  /** How many scripts the folder holds. */
  migrations: number
  /** What they were compared with, null where only the rules ran that need no base. */
  base: string | null
  findings: Finding[]
}
