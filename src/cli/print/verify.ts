// What was found about an app in words: a line for each rule, what would help below it, and the sum.
import { counted, type Style, tame } from '../style.ts'
import type { Finding } from '../verify/finding.ts'
import type { Verification } from '../verify/verify.ts'

function mark({ holds }: Finding, style: Style): string {
  if (holds === null) return style.yellow('?')
  return holds ? style.green('✓') : style.red('✗')
}

const lines = (finding: Finding, style: Style): string[] => {
  const code = finding.code ? ` ${style.dim(`(${finding.code})`)}` : ''
  return [
    `  ${mark(finding, style)} ${tame(finding.sentence)}${code}`,
    ...(finding.remedy ? [`      ${tame(finding.remedy)}`] : []),
  ]
}

function sum(findings: readonly Finding[], style: Style): string {
  const broken = findings.filter(({ holds }) => holds === false).length
  return broken === 0
    ? `${style.green('✓')} The contract holds, as far as it can be told from outside.`
    : `${style.red('✗')} The contract does not hold: ${counted(broken, 'rule')} broken. docs/contract.md has them all.`
}

export const printVerify = ({ internal, findings }: Verification, style: Style): string =>
  [
    `app at ${style.bold(internal)}`,
    ...findings.flatMap((each) => lines(each, style)),
    sum(findings, style),
  ].join('\n')
