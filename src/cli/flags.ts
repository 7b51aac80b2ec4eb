// Every flag: what it takes, which environment variable stands in for it, and what it is for. The docs are tested against it.

export interface Flag {
  /** The name of its value; absent: it takes none. */
  value?: string
  env?: string
  about: string
}

export const FLAGS = {
  help: { about: 'print how to use the command' },
  version: { about: 'print the version of slotgate' },
  json: { about: 'print the answer as JSON on standard output, and nothing else there' },
  admin: {
    value: 'URL',
    env: 'SLOTGATE_ADMIN',
    about: 'where the admin API listens (http://127.0.0.1:8081)',
  },
  key: { value: 'FILE', env: 'SLOTGATE_KEY', about: 'the private key to sign with' },
  'key-id': {
    value: 'ID',
    env: 'SLOTGATE_KEY_ID',
    about: 'its id in the config (the name of the file without .key)',
  },
  service: { value: 'NAME', env: 'SLOTGATE_SERVICE', about: 'the service; not needed when there is one' },
  ca: {
    value: 'FILE',
    env: 'SLOTGATE_CA',
    about: 'the certificate to trust, PEM, where the admin API has its own',
  },
  config: { value: 'FILE', about: 'the config (proxy.config.yaml)' },
  check: { about: 'check the config, print every problem, and exit' },
  id: { value: 'ID', about: 'the name of the new key' },
  algorithm: { value: 'NAME', about: 'ed25519 or hmac-sha256 (ed25519)' },
  allow: { value: 'LIST', about: 'what it may do, with commas (read,stage,promote,rollback,traffic)' },
  out: { value: 'FILE', about: 'where the private key is written (ID.key)' },
  to: {
    value: 'TARGET',
    about: 'the earlier release to go back to (the one before); of advice, the schema version to migrate to',
  },
  'if-generation': { value: 'N', about: 'refuse if somebody switched since generation N' },
  exclusive: {
    about:
      'let requests wait until what is open has ended, and then switch: old and new code never answer at once',
  },
  for: {
    value: 'TIME',
    about: 'when it ends by itself, such as 30s or 5m: a pause (never), the link to a preview (1h)',
  },
  origin: { value: 'URL', about: 'where people reach the front door, for the link (http://HOST:PORT)' },
  end: { about: 'make every link void that there is' },
  wait: { value: 'drained', about: 'end only when nothing of the former slot is open any more' },
  limit: { value: 'N', about: 'how many records, 1 to 1000 (20)' },
  before: { value: 'SEQ', about: 'only records before this number' },
  follow: { about: 'go on with what happens as it happens, until it is ended' },
  since: { value: 'SEQ', about: 'only records after this number' },
  migrations: { value: 'FOLDER', about: 'the migrations (migrations, here or further up)' },
  base: { value: 'REF', about: 'the branch that this one will be merged into, or none (origin/main)' },
  staged: { about: 'look at what is staged, not at the work tree' },
  'write-sums': { about: 'write SUMS anew from the files first' },
  listen: { value: 'ADDRESS', about: 'where the front door listens (127.0.0.1:8080, or the next free port)' },
  overlay: { about: 'show in the page itself what keeps new code from going live' },
  public: { value: 'URL', about: 'the public port of the app, which must not have the internal paths' },
} as const satisfies Record<string, Flag>

export type FlagName = keyof typeof FLAGS

/** What every command takes. */
export const COMMON = ['json', 'help'] as const satisfies FlagName[]

/** What every command takes that calls a running slotgate. */
export const CLIENT = ['admin', 'key', 'key-id', 'service', 'ca'] as const satisfies FlagName[]
