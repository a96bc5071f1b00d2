// Makes style and font as light as the pages allow: what they use of Tabler, and Inter in the weights that they have.
// `left-out.txt` names Tabler's classes that no page uses; a test finds a page that begins to.
import fs from 'node:fs';
import { PurgeCSS } from 'purgecss';
import subsetFont from 'subset-font';

const [style, font] = process.argv.slice(2);
const COLOURS = 'blue|azure|indigo|purple|pink|red|orange|yellow|lime|green|teal|cyan|secondary|primary|success|warning|danger|info|muted';
const BUILT = [new RegExp(`^bg-(${COLOURS})-lt$`), new RegExp(`^(alert|btn|text)-(${COLOURS})$`)]; // names that templates put together

const pages = fs.readdirSync('.', { recursive: true }).filter(file => /^(?!node_modules|static.vendor).*\.(html|py|js|css)$/.test(file));
const [purged] = await new PurgeCSS().purge({ content: pages, css: [style], variables: true, keyframes: true, safelist: { standard: BUILT } });
const classes = text => new Set([...text.matchAll(/\.(-?[a-zA-Z][\w-]*)/g)].map(([, name]) => name));
const kept = classes(purged.css), words = new Set(pages.flatMap(file => fs.readFileSync(file, 'utf8').match(/[\w-]+/g)));
const left = [...classes(fs.readFileSync(style, 'utf8'))].filter(name => !kept.has(name) && !words.has(name)).sort();
fs.writeFileSync('left-out.txt', `${left.join('\n')}\n`);
fs.writeFileSync(style, purged.css);

const range = (from, to) => Array.from({ length: to - from }, (_, at) => String.fromCodePoint(from + at)).join('');
const text = range(0x20, 0x7f) + range(0xa0, 0x180) + '–—‘’“”„‚•…‹›€→←↑↓−×⌘↵✓';
fs.writeFileSync(font, await subsetFont(fs.readFileSync(font), text, { targetFormat: 'woff2', variationAxes: { wght: { min: 400, max: 700 } } }));
