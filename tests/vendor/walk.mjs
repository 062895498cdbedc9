// Walks the versions of the vendor's SDK on npm and holds what each says and understands against docs/protocol.md.
//
//   node walk.mjs             the pinned versions; fails where one has a word that the protocol does not name, or where
//                             docs/vendor-versions.md is not what comes out (this is what CI runs)
//   node walk.mjs --write     writes docs/vendor-versions.md
//   node walk.mjs --newest    also those that npm has and nobody has pinned; prints the lines that pin them
//   node walk.mjs --list V    everything that version V knows
//
// Packages are fetched by npm, must have the pinned checksum, and are read, never run and never kept.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { extract } from './extract.mjs';
import { lacking, selfTest, unnamed } from './check.mjs';

const PACKAGE = '@flashphoner/websdk';
const here = fileURLToPath(new URL('.', import.meta.url));
const protocol = readFileSync(join(here, '../../docs/protocol.md'), 'utf8');
const report = join(here, '../../docs/vendor-versions.md');
const pinned = JSON.parse(readFileSync(join(here, 'versions.json'), 'utf8'));
const run = promisify(execFile);

/** Fetches a version into a directory of its own and reads it: `{version, integrity, found}`. */
async function fetched(version, directory) {
    const into = join(directory, version);
    mkdirSync(into);
    await run('npm', ['pack', '--silent', '--pack-destination', into, `${PACKAGE}@${version}`]);
    const archive = join(into, `${PACKAGE.slice(1).replace('/', '-')}-${version}.tgz`);
    const integrity = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
    if (pinned[version] && pinned[version] !== integrity) {
        throw new Error(`${version} is not what was pinned: ${integrity} instead of ${pinned[version]}`);
    }
    await run('tar', ['-xzf', archive, '-C', into, 'package/src', 'package/flashphoner.js']);
    return { version, integrity, found: extract(join(into, 'package')) };
}

async function onNpm() {
    const { stdout } = await run('npm', ['view', PACKAGE, 'versions', '--json']);
    return [JSON.parse(stdout)].flat();
}

const NAMES = { sends: 'says', hears: 'understands', commands: 'room commands', events: 'room events', words: 'words' };

/** What a version knows, as lines: `says **publishStream**: sdp, name`. */
function lines(found) {
    return Object.entries(NAMES).flatMap(([kind, title]) =>
        [...found[kind]].flatMap(([name, values]) => [...(kind === 'words' ? [] : [[title, name, '']]), ...[...values].map((value) => [title, name, value])]));
}

/** docs/vendor-versions.md: what each version brought and took away. */
function told(versions) {
    const out = [
        '# What each version of the SDK brought',
        '',
        `Written by \`node tests/vendor/walk.mjs --write\`, from the source of each version of \`${PACKAGE}\` on npm. What a message`,
        'means is told in [protocol.md](protocol.md), which names every word of this list: a test holds the two together.',
        '',
        'A name before a colon is a message (or who handles it), the names after it are its fields; words are constants. Where',
        'fields come from another package, as those of the metrics do from 2.0.276 on, only the message is seen.',
    ];
    let before = new Map();
    for (const { version, found } of versions) {
        const now = new Map(lines(found).map((line) => [line.join('\0'), line]));
        const fresh = [...now].filter(([key]) => !before.has(key)).map(([, line]) => line);
        const gone = [...before].filter(([key]) => !now.has(key)).map(([, line]) => line);
        out.push('', `## ${version}`, '', ...grouped(fresh, ''), ...grouped(gone, 'no longer '));
        if (fresh.length + gone.length === 0) {
            out.push('The same.');
        }
        before = now;
    }
    return `${out.join('\n')}\n`;
}

function grouped(found, prefix) {
    const groups = new Map();
    for (const [title, name, value] of found) {
        const key = `- ${prefix}${title} \`${name}\``;
        groups.set(key, [...(groups.get(key) ?? []), ...(value ? [`\`${value}\``] : [])]);
    }
    return [...groups].map(([key, values]) => (values.length > 0 ? `${key}: ${values.join(', ')}` : key));
}

async function main([option, wanted]) {
    selfTest(protocol);
    const known = option === '--list' ? [wanted] : Object.keys(pinned);
    const others = option === '--newest' ? (await onNpm()).filter((version) => !pinned[version]) : [];
    const directory = mkdtempSync(join(tmpdir(), 'vendor-'));
    try {
        const versions = await Promise.all([...known, ...others].map((version) => fetched(version, directory)));
        if (option === '--list') {
            console.log(grouped(lines(versions[0].found), '').join('\n'));
            return 0;
        }
        others.forEach((version) => console.log(`not pinned: "${version}": "${versions.find((it) => it.version === version).integrity}"`));
        const problems = versions.flatMap(({ version, found }) =>
            [...lacking(found), ...unnamed(found, protocol)].map((what) => `${version}: ${what}`));
        const text = told(versions.filter(({ version }) => pinned[version]));
        if (option === '--write') {
            writeFileSync(report, text);
        } else if (readFileSync(report, 'utf8') !== text) {
            problems.push('docs/vendor-versions.md is not what comes out: node tests/vendor/walk.mjs --write');
        }
        problems.forEach((problem) => console.error(problem));
        console.log(`${versions.length} versions, ${lines(versions.at(-1).found).length} names in the newest, ${problems.length} problems`);
        return problems.length === 0 && others.length === 0 ? 0 : 1;
    } finally {
        rmSync(directory, { recursive: true });
    }
}

process.exitCode = await main(process.argv.slice(2));
