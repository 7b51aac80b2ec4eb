// The one error table: every refusal, problem, warning and alarm has a code, a sentence and what would help.
// It is the source for the docs (docs/errors.md), the tests and the answers. Codes are public and only ever added to.
import { withShortCommits } from './contract.ts'

/** Who has to act: the caller, the app's authors, whoever operates the machine, or slotgate's own authors. */
export type Blame = 'client' | 'app' | 'operator' | 'slotgate'

/** Where in the journey it happened; `stage` of the problem document. */
export type Stage = 'admin' | 'switch' | 'boot' | 'gate' | 'relay' | 'start' | 'migrations' | 'journal'

export interface ErrorEntry {
  /** HTTP status of the answer that carries it; 0 where it never is an answer by itself (warnings, start-up). */
  status: number
  stage: Stage
  blame: Blame
  /** True when the very same call may succeed a little later without anybody changing anything. */
  retryable: boolean
  /** `{name}` is replaced by the fact of that name. */
  sentence: string
  hint?: string
}

const gate = (sentence: string, hint?: string, more?: Partial<ErrorEntry>): ErrorEntry => ({
  status: 422,
  stage: 'gate',
  blame: 'app',
  retryable: false,
  sentence,
  ...(hint && { hint }),
  ...more,
})

const warning = (sentence: string, hint?: string): ErrorEntry => gate(sentence, hint, { status: 0 })

const entry = (
  status: number,
  stage: Stage,
  blame: Blame,
  sentence: string,
  hint?: string,
  retryable = false,
): ErrorEntry => ({ status, stage, blame, retryable, sentence, ...(hint && { hint }) })

const RETRY = true

export const ERRORS = {
  // The gate: no usable status from the target (DESIGN §3 row 1).
  schema_status_unreachable: gate(
    'Release {release} could not be asked for its schema status: {detail}.',
    'See whether its process runs and listens on its internal port {internal_url}.',
    { retryable: RETRY },
  ),
  schema_status_timeout: gate(
    'Release {release} did not finish answering {url} within {within_ms} ms.',
    'Look at what the app waits for; the answer should be one fast statement.',
  ),
  schema_status_not_found: gate(
    '{url} of release {release} answered 404: the release has no such endpoint.',
    'Serve the status there, set `schema.path`, or `schema: off` for an app without a database.',
  ),
  schema_status_redirected: gate(
    '{url} of release {release} answered {status_code}; redirects are not followed.',
    'Answer 200 with the status at this very path.',
  ),
  schema_status_unavailable: gate(
    '{url} of release {release} answered 503: it cannot say now how code and schema fit ({said}).',
    'See whether the database is up and is the primary, then try again.',
    { retryable: RETRY },
  ),
  schema_status_http_error: gate(
    '{url} of release {release} answered {status_code}; only 200 counts.',
    'Look at the output of the release.',
  ),
  schema_status_too_large: gate(
    '{url} of release {release} answered more than {limit_bytes} bytes.',
    'Is this the right path? A status is a few hundred bytes.',
  ),
  schema_status_not_json: gate(
    '{url} of release {release} did not answer one JSON object: {detail}.',
    'Answer the JSON object described in docs/contract.md.',
  ),
  schema_status_malformed: gate(
    'In the status of release {release}, field {field} must be {expected}; got {got}.',
    'Mend the status of the app; `docs/contract.md` has each field.',
  ),

  // The gate: what the statuses say (rows 2 to 13, 17, 19).
  schema_wrong_process: gate(
    'The internal port of release {release} was answered by another process than the one just started (boot id {got}, not {expected}).',
    'See who else listens on {internal_url}.',
  ),
  schema_migration_running: gate(
    'A migration is running; its result is not known yet.',
    'Wait for it to end, then try again.',
    { retryable: RETRY },
  ),
  schema_dirty: gate(
    'A migration was applied in part{dirty_version}. No switch until it is resolved.',
    'Look at `problems` in the status of release {release}, mend the database by hand, then clear the attempt.',
  ),
  schema_range_invalid: gate(
    'Release {release} declares a minimum ({min}) above its maximum ({max}).',
    'Mend the range the release declares, in `migrations/compat.json` where the kit is used.',
  ),
  schema_behind_code: gate(
    'Release {release} needs schema {min} or newer; the database is at {current}.',
    'Run the pending migrations ({pending}) on the release itself: POST {internal_url}/migrations/run, then try again.',
  ),
  schema_ahead_of_code: gate(
    'Release {release} works with schema {min} to {max}; the database is already at {current}.',
    '{ahead_hint}',
  ),
  schema_declared_incompatible: gate(
    "Schema {current} is inside release {release}'s range {min} to {max}, but the release itself reports that it is not compatible{problems}.",
    'Look at `problems` in its status: {internal_url}.',
  ),
  schema_status_contradictory: gate(
    'Release {release} calls itself compatible although {current} is outside its range {min} to {max}.',
    'Mend the status of the app: `compatible` must be false outside the range.',
  ),
  schema_database_mismatch: gate(
    'Release {release} and the live release {live_release} do not look at the same database ({got} and {expected}).',
    'Compare the DATABASE_URL of both.',
  ),
  schema_version_disagreement: gate(
    'Release {release} reads schema {current}, the live release {live_release} reads {live_current}, {attempts} times in a row.',
    'One of them may read a lagging replica; point both at the primary.',
    { retryable: RETRY },
  ),
  schema_history_disagreement: gate(
    'Release {release} and the live release {live_release} agree on schema {current} but not on which migrations that is.',
    'Compare `schema_migrations` of both; they may be different databases or a migration was replaced.',
  ),
  schema_unsettled: gate(
    'The statuses changed between the check and the switch, {attempts} times in a row.',
    'Something keeps changing the schema; try again when it has ended.',
    { retryable: RETRY },
  ),
  schema_changed_by_rehearsal: gate(
    'Booting release {release} only to ask it changed the schema from {before} to {after}. A release must not migrate when it boots.',
    'Take the migration out of the start of the app; see docs/contract.md.',
  ),
  schema_changed_during_switch: gate(
    'The schema moved from {before} to {after} during the switch; release {release} does not work with {after}; traffic is back on {previous_release}.',
    'Wait for the migration to end, then check again.',
  ),
  no_previous_release: gate(
    'There is no earlier release to go back to.',
    'Roll forward: deploy a release that fits.',
    { blame: 'client' },
  ),

  // Warnings of the gate: they never refuse.
  pending_migrations: warning(
    'Release {release} ships migrations that have not run: {pending}.',
    'Run them when it suits: POST {internal_url}/migrations/run.',
  ),
  pending_unknown: warning('Release {release} does not say which of its migrations are pending.'),
  live_status_unavailable: warning('The live release {live_release} gave no usable status: {detail}'),
  live_slot_incompatible: warning(
    'The live release {live_release} works with schema {min} to {max}, and the database is at {current}.',
    'It goes on serving; switch to a release that fits.',
  ),
  no_common_schema_version: warning(
    'No schema version suits both the live release {live_release} ({live_min} to {live_max}) and release {release} ({min} to {max}).',
    'No order of promote and migrate avoids an outage: ship an intermediate release whose range contains {bridge_from} and {bridge_to}.',
  ),
  schema_check_disabled: warning('The service sets `schema: off`: nothing was checked.'),
  orphaned_migrations: warning(
    'Applied, but release {release} works without: {orphans}.',
    'Raise the minimum of the code, or clean up what these migrations added.',
  ),

  // Switching.
  operation_in_progress: entry(
    409,
    'switch',
    'client',
    'A {operation} of {service} is in progress since {since}, at the step "{step}".',
    'Wait for it to end; `slotgate status` shows it.',
    RETRY,
  ),
  generation_mismatch: entry(
    412,
    'switch',
    'client',
    'The pointer of {service} is at generation {generation}; the call expected {expected}.',
    'Somebody else switched in between. Look at the status, then decide anew.',
  ),
  nothing_staged: entry(
    409,
    'switch',
    'client',
    'The idle slot of {service} holds no running release to promote.',
    'Stage one first: slotgate stage RELEASE.',
  ),
  candidate_unhealthy: entry(
    409,
    'boot',
    'app',
    'Release {release} in slot {slot} is not healthy: {detail}.',
    'See its output in the log; it stays up at {internal_url}.',
    RETRY,
  ),
  target_boot_failed: entry(
    424,
    'boot',
    'app',
    'Release {release} did not start: {detail}.',
    'Nothing was switched. See the last lines it wrote.',
  ),
  setup_failed: entry(
    424,
    'boot',
    'app',
    'The setup of release {release} failed: {detail}.',
    'Nothing was switched. See the last lines it wrote; it runs again at the next attempt.',
  ),
  setup_timeout: entry(
    424,
    'boot',
    'app',
    'The setup of release {release} was not done within {within_ms} ms: {command}.',
    'Nothing was switched, and it was ended. See the last lines it wrote; it runs again at the next attempt. Raise `releases.setup_within` if it needs longer.',
  ),
  unknown_release: entry(
    404,
    'boot',
    'client',
    'There is no release {release}: {detail}.',
    'Releases are the folders that `releases.cwd` names, or commits; `slotgate history` shows which were live.',
  ),
  unknown_commit: entry(
    404,
    'boot',
    'client',
    '{name} names no commit in {repo}.',
    'Nothing was changed. slotgate does not fetch: bring it there with git fetch or git push, and see git log --all.',
  ),
  ambiguous_commit: entry(
    400,
    'boot',
    'client',
    '{name} could be more than one thing in {repo}: {candidates}.',
    'Nothing was changed. Say which: more of the commit, refs/heads/NAME or refs/tags/NAME.',
  ),
  repository_unusable: entry(
    503,
    'boot',
    'operator',
    'The repository {repo} cannot be used: {detail}.',
    'Nothing was changed. See whether git, run there by the user of slotgate, says the same.',
  ),
  checkout_failed: entry(
    503,
    'boot',
    'operator',
    'Release {release} could not be checked out from {repo}: {detail}.',
    'Nothing was switched. See whether the disk has room; the next attempt begins anew.',
  ),
  engine_unusable: entry(
    503,
    'boot',
    'operator',
    'The engine at {engine} cannot be used: {detail}.',
    'Nothing was changed. See whether it runs, and whether the user of slotgate may use its socket: docker -H {engine} info',
    RETRY,
  ),
  image_unavailable: entry(
    424,
    'boot',
    'client',
    'Release {release} has no image: {image} is not at the engine, which could not pull it: {detail}.',
    'Nothing was switched. Build or push the image; for a registry that asks who you are, pull it beforehand.',
  ),
  shared_path_tracked: entry(
    424,
    'boot',
    'app',
    'Release {release} has {path} in its commit, and the config says that releases share it: {detail}.',
    'Nothing was switched. Take it out of the commit (git rm -r --cached {path}), or out of `releases.shared`.',
  ),
  env_file_unreadable: entry(
    424,
    'boot',
    'operator',
    'The variables of release {release} cannot be read from {file}: {detail}.',
    'Nothing was switched. Put the file there, readable by the user of slotgate, or mend `releases.env_file`.',
  ),
  invalid_release_id: entry(
    400,
    'admin',
    'client',
    'A release id is 1 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or digit; got {got}.',
  ),
  already_live: entry(
    409,
    'switch',
    'client',
    'Release {release} is live already.',
    'To start it anew behind the switch, stage it, then promote it.',
  ),
  release_not_running: entry(
    409,
    'switch',
    'client',
    'Release {release} does not run, or is not healthy, in the idle slot of {service}, and slotgate cannot boot it again.',
    'Where something else runs the slots, start it in the idle one and stage it. Where releases share one folder, put its code back there and deploy it.',
  ),
  journal_write_failed: entry(
    503,
    'journal',
    'operator',
    'The journal could not be written: {detail}. Nothing was switched.',
    'Free space or mend {file}; the front door goes on serving.',
    RETRY,
  ),
  exclusive_drain_timeout: entry(
    409,
    'switch',
    'operator',
    'Release {release} would not have answered alone: {requests} requests and {tunnels} tunnels were still open after {within_ms} ms. Nothing was switched, and requests go on.',
    'Tunnels (WebSockets, event streams) count. Raise `drain.within`, have the app end what is open, or switch without --exclusive.',
    RETRY,
  ),
  data_plane_not_ready: entry(
    503,
    'switch',
    'slotgate',
    'The front door did not take the address of release {release}: {detail}. Nothing was switched.',
    undefined,
    RETRY,
  ),
  shutting_down: entry(
    503,
    'admin',
    'operator',
    'slotgate is shutting down and starts nothing new.',
    undefined,
    RETRY,
  ),
  internal_error: entry(
    500,
    'admin',
    'slotgate',
    'Something went wrong inside slotgate: {detail}.',
    'The log has the details under request id {request_id}.',
  ),

  // Alarms: nothing was asked, something must be looked at.
  live_release_exited: entry(
    0,
    'boot',
    'app',
    'The live release {release} exited ({detail}); it is started again in {delay_ms} ms.',
  ),
  no_release_fits: entry(
    0,
    'gate',
    'app',
    'After the switch neither {release} nor {previous_release} works with schema {after}; traffic stays on {release}.',
    'Deploy a release whose range contains {after}.',
  ),
  former_release_gone: entry(
    0,
    'gate',
    'app',
    'After the switch {release} does not work with schema {after}, and {previous_release}, which was live before, has ended or lost its slot since; traffic stays on {release}.',
    'See whether {previous_release} works with it: slotgate rollback boots it to ask. Or deploy a release whose range contains {after}.',
  ),
  // What the watch says, once for each change; and the bake. Each is an event of the journal by the same name.
  schema_version_changed: entry(
    0,
    'gate',
    'operator',
    'The schema moved from {before} to {after} while {release} is live.',
  ),
  schema_version_regressed: entry(
    0,
    'gate',
    'operator',
    'The schema went back from {before} to {after} while {release} is live.',
    'Was a backup restored, or does {release} look at another database now?',
  ),
  schema_live_incompatible: entry(
    0,
    'gate',
    'app',
    'The live release {release} no longer fits the schema: {detail}',
    'It goes on serving. Deploy a release that fits, or roll back if the door is open.',
  ),
  schema_live_compatible: entry(
    0,
    'gate',
    'app',
    'The live release {release} fits the schema again, which is at {current}.',
  ),
  rollback_door_closed: entry(
    0,
    'gate',
    'app',
    'A rollback is no longer possible: {detail}',
    'Until the next release that fits, the only way is forward.',
  ),
  rollback_door_opened: entry(0, 'gate', 'app', 'A rollback to {to} is possible: {detail}'),
  bake_passed: entry(
    0,
    'switch',
    'app',
    'Release {release} has baked: {failed} of its {requests} requests failed ({percent}).',
  ),
  bake_failed: entry(
    0,
    'switch',
    'app',
    'Release {release} failed {failed} of {requests} requests ({percent}) since it went live; {former_release} had failed {former_failed} of {former_requests} ({former_percent}). Traffic goes back, if the gate allows it.',
    'Look at the output of {release}, mend it, then deploy the new release.',
  ),
  bake_not_undone: entry(
    0,
    'switch',
    'app',
    'Release {release} failed its bake ({failed} of {requests} requests), and traffic stays on it: {detail}',
    'Nothing more is tried by itself. Deploy a release that works, or roll back by hand once that is possible.',
  ),
  drain_cut: entry(
    0,
    'switch',
    'operator',
    'Draining {release} ended at its limit: {requests} requests and {tunnels} tunnels were cut.',
    'Raise `drain.within` or `drain.tunnels_within` if they need longer.',
  ),

  // The admin door.
  unsigned: entry(
    401,
    'admin',
    'client',
    'This call must be signed (RFC 9421).',
    'Use the slotgate CLI, or see docs/admin.md for how to sign.',
  ),
  signature_malformed: entry(400, 'admin', 'client', 'The signature fields cannot be read: {detail}.'),
  signature_refused: entry(
    401,
    'admin',
    'client',
    'The signature was not accepted.',
    'Compare key, clock and covered components with docs/admin.md; the log of slotgate has the reason.',
  ),
  replayed: entry(
    409,
    'admin',
    'client',
    'This nonce was used before: the call was already made.',
    'Sign each call anew.',
  ),
  digest_mismatch: entry(400, 'admin', 'client', 'Content-Digest does not match the body: {detail}.'),
  not_allowed: entry(
    403,
    'admin',
    'client',
    'Key {key_id} is not allowed to {action}.',
    'Ask for a key whose `allow` list has it.',
  ),
  host_not_allowed: entry(421, 'admin', 'client', 'The admin listener does not answer to this Host.'),
  origin_refused: entry(403, 'admin', 'client', 'Calls from web pages of other origins are refused.'),
  rate_limited: entry(429, 'admin', 'client', 'Too many calls at once.', 'Try again in a second.', RETRY),
  nonce_store_full: entry(
    503,
    'admin',
    'operator',
    'Too many signed calls are remembered right now.',
    'Try again when the oldest have expired.',
    RETRY,
  ),
  too_many_readers: entry(
    503,
    'admin',
    'operator',
    'The events are being read {limit} times already, and not more often at once.',
    'Close a dashboard or a slotgate events --follow that nobody looks at.',
    RETRY,
  ),
  body_too_large: entry(413, 'admin', 'client', 'The body is larger than {limit_bytes} bytes.'),
  request_malformed: entry(400, 'admin', 'client', 'The request cannot be read: {detail}.'),
  query_invalid: entry(400, 'admin', 'client', 'The query does not fit: {detail}.'),
  preview_off: entry(
    409,
    'admin',
    'operator',
    'Service {service} cannot be previewed.',
    'Set `preview: {}` in its config, then start slotgate again.',
  ),
  if_match_invalid: entry(
    400,
    'admin',
    'client',
    'If-Match must be one generation in quotes, such as "17"; got {got}.',
    'The generation is in the status of the service.',
  ),
  body_invalid: entry(400, 'admin', 'client', 'The body does not fit: {detail}.'),
  unknown_service: entry(404, 'admin', 'client', 'There is no service {service}.', 'Known: {known}.'),
  unknown_route: entry(404, 'admin', 'client', 'There is no {method} {path} here.', 'See docs/admin.md.'),

  // The front door.
  bad_request: entry(400, 'relay', 'client', 'The request cannot be relayed: {detail}.'),
  head_too_large: entry(
    431,
    'relay',
    'client',
    'The head of the request is larger than {limit_bytes} bytes.',
  ),
  target_too_long: entry(
    414,
    'relay',
    'client',
    'The target of the request is longer than {limit_bytes} bytes.',
  ),
  too_many_fields: entry(431, 'relay', 'client', 'The request has more than {limit} header fields.'),
  request_too_large: entry(
    413,
    'relay',
    'client',
    'The body of the request is larger than {limit_bytes} bytes.',
  ),
  request_timeout: entry(408, 'relay', 'client', 'The request did not arrive in time.'),
  expectation_failed: entry(417, 'relay', 'client', 'Only 100-continue may be expected.'),
  method_not_relayed: entry(405, 'relay', 'client', '{method} is not relayed.'),
  not_implemented: entry(501, 'relay', 'client', 'The request cannot be relayed: {detail}.'),
  http_version_not_supported: entry(505, 'relay', 'client', 'Only HTTP/1.0 and HTTP/1.1 are spoken here.'),
  loop_detected: entry(
    508,
    'relay',
    'operator',
    'The request has passed this front door too often already.',
    'Look for a proxy or an app that sends requests back here.',
  ),
  no_such_site: entry(404, 'relay', 'client', 'No service answers to this host and path.'),
  internal_path: entry(404, 'relay', 'client', 'There is nothing here.'),
  nothing_live: entry(
    503,
    'relay',
    'operator',
    'No release of this service is live yet.',
    'Promote one: slotgate deploy RELEASE.',
    RETRY,
  ),
  paused: entry(
    503,
    'relay',
    'operator',
    'This service is paused for the moment.',
    'Let requests go on: slotgate resume. How many wait, and how long, is `hold` in the config.',
    RETRY,
  ),
  live_down: entry(
    503,
    'relay',
    'app',
    'The app is not running right now; it is being started again.',
    undefined,
    RETRY,
  ),
  nothing_to_preview: entry(
    503,
    'relay',
    'operator',
    'There is nothing to preview: no release runs in the idle slot of this service.',
    'Stage one: slotgate stage RELEASE.',
    RETRY,
  ),
  preview_over: entry(
    403,
    'relay',
    'client',
    'This link to a preview has expired, or was ended.',
    'Make a new one: slotgate preview.',
  ),
  too_many_open_requests: entry(
    503,
    'relay',
    'operator',
    'The service is busy: it answers {limit} requests already.',
    'Raise `limits.open_requests` if the app can answer more at once.',
    RETRY,
  ),
  upstream_refused: entry(502, 'relay', 'app', 'The app refused the connection.', undefined, RETRY),
  upstream_failed: entry(502, 'relay', 'app', 'The app ended the connection before it answered.'),
  upstream_invalid: entry(502, 'relay', 'app', 'The app gave an answer that cannot be relayed.'),
  upstream_timeout: entry(504, 'relay', 'app', 'The app did not answer in time.', undefined, RETRY),
  tunnel_idle: entry(0, 'relay', 'client', 'Nothing came through the tunnel for {within_ms} ms.'),
  client_closed: entry(499, 'relay', 'client', 'The client went away before the answer was complete.'),
  proxy_header_invalid: entry(
    0,
    'relay',
    'operator',
    'The connection of {peer} did not begin with a PROXY protocol header that can be taken: {detail}.',
    'Let only what is in `relay.trusted_proxies` connect, and let it send the header; or set `relay.proxy_protocol: off`.',
  ),
  too_many_connections: entry(
    0,
    'relay',
    'operator',
    'The limit of {limit} open connections (`{key}`) was reached; {closed} more were closed at once.',
    'Raise `{key}` if they are wanted.',
  ),
  worker_died: entry(
    0,
    'relay',
    'slotgate',
    'Thread {worker} of the front door ended ({detail}), and its connections with it; it is started again in {delay_ms} ms.',
    'The other threads go on. If it was out of memory, see what its requests had in common.',
  ),

  // Starting.
  config_unreadable: entry(0, 'start', 'operator', 'The config {file} cannot be read: {detail}.'),
  config_invalid: entry(0, 'start', 'operator', 'The config {file} has {count}.'),
  port_in_use: entry(0, 'start', 'operator', 'Port {port} on {host} is already in use ({what}).', '{who}'),
  listen_failed: entry(0, 'start', 'operator', 'Cannot listen on {host}:{port} ({what}): {detail}.'),
  state_dir_unusable: entry(
    0,
    'start',
    'operator',
    'The state folder {state_dir} cannot be used: {detail}.',
    'It has to be a folder that the user of slotgate may write to, on a disk with room. Releases that still run are taken over once slotgate starts.',
  ),
  state_dir_in_use: entry(
    0,
    'start',
    'operator',
    'Another slotgate (process {pid}) works on {state_dir}.',
    'Stop it first, or give this one its own `state_dir`.',
  ),
  dev_already_runs: entry(
    0,
    'start',
    'operator',
    'Another session of slotgate dev runs in {folder} (process {pid}).',
    'The commands work with it from there: slotgate status. To end it, press q in its terminal, or: kill {pid}.',
  ),
  journal_broken: entry(
    0,
    'start',
    'operator',
    'The journal {file} is broken at line {line}: {detail}.',
    'Nothing was changed. Look at that line and restore the file from a backup, or move it away to start with an empty journal.',
  ),

  // The kit's own answers on the internal port of an app (SCHEMA §5.5).
  run_body_invalid: entry(400, 'migrations', 'client', 'The body of /migrations/run does not fit: {detail}.'),
  migration_running: entry(
    409,
    'migrations',
    'client',
    'Another migration is running.',
    'Wait for it to end, then try again.',
    RETRY,
  ),
  expected_current_mismatch: entry(
    409,
    'migrations',
    'client',
    'The database is at {current}; the call expected {expected_current}.',
    'Somebody migrated in between. Read the status, then decide anew.',
  ),
  outside_range: entry(
    409,
    'migrations',
    'client',
    'This release works with schema {min} to {max}; it does not migrate to {to}.',
    'Run the migration on the release that ships it and declares it.',
  ),
  dirty: entry(
    409,
    'migrations',
    'operator',
    'Migration {version} was applied in part. Nothing runs until that is resolved.',
    'Mend the database by hand, then clear the attempt; see docs/kit.md.',
  ),
  would_break_live: entry(
    409,
    'migrations',
    'client',
    'A migration to {to} would break the live release. {detail}',
    '{remedy} If that is meant, name the release: {"accept_breaks": ["{release}"]}.',
  ),
  one_way_door: entry(
    409,
    'migrations',
    'client',
    'A migration to {to} would close the way back. {detail}',
    '{remedy} If that is meant: {"confirm": "one_way_door"}.',
  ),
  advice_unknown: entry(
    409,
    'migrations',
    'client',
    'slotgate cannot tell what a migration to {to} would break. {detail}',
    'If it may break the live release, name it: {"accept_breaks": ["{release}"]}.',
  ),
  slotgate_away: entry(
    503,
    'migrations',
    'operator',
    'slotgate at {admin} did not say what a migration to {to} would break: {detail}.',
    'Start it, then try again. How to run without it is in docs/kit.md.',
    RETRY,
  ),
  advice_unavailable: entry(
    503,
    'migrations',
    'operator',
    'slotgate cannot be asked what a migration to {to} would break: {detail}.',
    'The app needs SLOTGATE_ADMIN, SLOTGATE_SERVICE, SLOTGATE_KEY and SLOTGATE_KEY_ID, and a key that may `read`; see docs/kit.md.',
  ),
  attempt_not_open: entry(
    409,
    'migrations',
    'client',
    'Migration {version} is not applied in part; there is nothing to clear.',
    'Read `problems` in the status for the version that is.',
  ),
  migration_failed: entry(
    422,
    'migrations',
    'app',
    'Migration {file} failed: {detail}.',
    'Mend the script, then run again.',
  ),
  duplicate_number: entry(
    422,
    'migrations',
    'app',
    'Number {version} is used by more than one file: {files}.',
    'Give one of them the next free number.',
  ),
  hole: entry(
    422,
    'migrations',
    'app',
    'Migration {file} has not run, but newer ones have.',
    'Give it the next free number.',
  ),
  checksum_drift: entry(
    422,
    'migrations',
    'app',
    'Migration {file} was changed after it ran.',
    'Restore the file as it was; put the change into a new migration.',
  ),
  different_migration: entry(
    422,
    'migrations',
    'app',
    'Number {version} in the database is {applied}; this release ships {release}.',
    'Give the file of this release the next free number.',
  ),
  applied_not_in_release: entry(
    422,
    'migrations',
    'app',
    'Migration {applied} has run, but this release does not ship it.',
    'Put the file back as it ran; a migration that has run stays in every later release.',
  ),
  bad_name: entry(
    422,
    'migrations',
    'app',
    '{file} is not named like 043_add_notes.sql.',
    'Rename it, or take it out of the migrations folder.',
  ),
  compat_invalid: entry(422, 'migrations', 'app', 'compat.json does not fit: {detail}.'),
  sums_mismatch: entry(
    422,
    'migrations',
    'app',
    'migrations/SUMS does not match {file}.',
    'Write it anew from the files.',
  ),
  not_primary: entry(
    503,
    'migrations',
    'operator',
    'The database is a standby; its answer could be old.',
    'Point the app at the primary.',
    RETRY,
  ),
  database_unavailable: entry(
    503,
    'migrations',
    'operator',
    'The database cannot be asked: {detail}.',
    undefined,
    RETRY,
  ),
  partial_migration: entry(0, 'migrations', 'app', 'Migration {version} was applied in part.'),
} as const satisfies Record<string, ErrorEntry>

export type Code = keyof typeof ERRORS

/** Numbers, ids and other values that go into a sentence and travel beside it as fields. */
export type Facts = Record<string, unknown>

/** A code with its sentence, its hint and the facts behind both: one reason of a verdict, one warning. */
export interface Reason extends Facts {
  code: Code
  sentence: string
  hint?: string
}

const lookup = (code: Code): ErrorEntry => ERRORS[code]

/** Puts the facts into a template; an unknown name stays visible as `?` rather than vanish. */
export function fill(template: string, facts: Facts): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = facts[name]
    if (value === undefined || value === null) return '?'
    return withShortCommits(Array.isArray(value) ? value.join(', ') : String(value))
  })
}

/**
 * @returns the code with its filled sentence and hint, and the facts as fields
 */
export function reason(code: Code, facts: Facts = {}): Reason {
  const { sentence, hint } = lookup(code)
  return {
    ...facts,
    code,
    sentence: fill(sentence, facts),
    ...(hint && { hint: fill(hint, facts) }),
  }
}

/** An error that carries its code and facts to whoever answers the caller. */
export class SlotgateError extends Error {
  readonly code: Code
  readonly facts: Facts

  constructor(code: Code, facts: Facts = {}, options?: ErrorOptions) {
    super(fill(lookup(code).sentence, facts), options)
    this.name = 'SlotgateError'
    this.code = code
    this.facts = facts
  }

  get entry(): ErrorEntry {
    return lookup(this.code)
  }
}

/** An RFC 9457 problem document with slotgate's own members. */
export interface Problem extends Facts {
  type: string
  title: string
  status: number
  detail: string
  code: Code
  stage: Stage
  retryable: boolean
  hint?: string
}

/**
 * @returns the problem document of an error; its facts are members beside the standard ones
 * @see RFC 9457 §3
 */
export function toProblem(error: SlotgateError): Problem {
  const { status, stage, retryable, hint } = error.entry
  return {
    ...error.facts,
    type: `urn:slotgate:error:${error.code}`,
    title: error.code.replaceAll('_', ' '),
    status: status || 500,
    detail: error.message,
    code: error.code,
    stage,
    retryable,
    ...(hint && { hint: fill(hint, error.facts) }),
  }
}

/** What a thrown thing says of itself, for logs and sentences. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
