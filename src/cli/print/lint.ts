// Findings of a lint in words: where, which rule, what is wrong, and what to type.
import type { Finding, LintResult } from '../lint/types.ts'
import { quoted } from '../shell.ts'
import { counted, type Style, tame } from '../style.ts'

/** @param isStaged whether what is staged was looked at: what is typed does not change that */
export function printLint(result: LintResult, style: Style, isStaged: boolean): string {
  const { ok, folder, findings } = result
  return [
    ...findings.map((finding) => printFinding(finding, style)),
    summary(result, style),
    ...(isStaged && !ok ? [`  Then stage what was mended: git add -- ${quoted(folder)}`] : []),
  ].join('\n')
}

function printFinding({ rule, severity, file, sentence, remedy }: Finding, style: Style): string {
  const mark = severity === 'error' ? style.red('✗') : style.yellow('!')
  return [
    `${mark} ${style.bold(tame(file))} (${rule})`,
    `  ${tame(sentence)}`,
    `    ${style.bold(tame(remedy))}`,
  ].join('\n')
}

function summary({ ok, folder, migrations, base, findings }: LintResult, style: Style): string {
  const mark = ok ? style.green('✓') : style.red('✗')
  const warnings = findings.filter(({ severity }) => severity === 'warning').length
  const counts = `${counted(findings.length - warnings, 'error')}, ${counted(warnings, 'warning')}`
  const against = base === null ? 'without a base: only the rules that need none' : `against ${base}`
  return `${mark} ${tame(folder)}: ${counted(migrations, 'migration')} ${against}; ${counts}`
}
