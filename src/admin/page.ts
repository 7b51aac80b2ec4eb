// What somebody without a signature gets to read: how to sign, as text or as a small page.
import { REQUIRED_COMPONENTS, TAG } from '../signing.ts'
import { REQUIRED_PARAMETERS } from './signature.ts'

const COMPONENTS = REQUIRED_COMPONENTS.map((name) => `"${name}"`).join(' ')

/** What the server wants to be signed (RFC 9421 §5.1). */
export const ACCEPT_SIGNATURE = `slotgate=(${COMPONENTS});${REQUIRED_PARAMETERS.filter((name) => name !== 'tag').join(';')};tag="${TAG}"`

export const HOW_TO_SIGN: readonly string[] = [
  'Every call here is signed with a key of the config (HTTP Message Signatures, RFC 9421).',
  'The CLI does it for you:',
  '  slotgate keys generate --id ops --out ops.key    then add the printed entry to admin.keys in the config',
  '  slotgate status --key ops.key --key-id ops',
  'In a browser, the dashboard does: /',
  'By hand, send these fields with each request:',
  '  Content-Digest: sha-256=:<base64 of the SHA-256 of the body, also of an empty one>:',
  `  Signature-Input: slotgate=(${COMPONENTS});created=<now>;expires=<now + 60>;nonce="<22 random characters or more>";keyid="ops";tag="${TAG}"`,
  '  Signature: slotgate=:<base64 of the signature over the signature base>:',
  'Cover "content-type" and "if-match" as well when you send them. docs/admin.md has a worked example.',
  'Without a signature: GET /healthz and GET /openapi.json.',
]

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

export const textPage = (): string => `This call must be signed.\n\n${HOW_TO_SIGN.join('\n')}\n`

export const htmlPage = (): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>This call must be signed</title>
<h1>This call must be signed</h1>
<pre>${escapeHtml(HOW_TO_SIGN.join('\n'))}</pre>
</html>
`
