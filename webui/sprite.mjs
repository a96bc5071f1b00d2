// Writes one SVG with a <symbol> for each icon named in a list: `node sprite.mjs ICONS LIST > icons.svg`.
import { readFileSync } from 'node:fs';

const [folder, list] = process.argv.slice(2);
const names = readFileSync(list, 'utf8').split('\n').map(line => line.trim()).filter(Boolean).sort();
console.log('<svg xmlns="http://www.w3.org/2000/svg">');
for (const name of names) {
  const icon = readFileSync(`${folder}/outline/${name}.svg`, 'utf8');
  const shapes = icon.slice(icon.indexOf('>', icon.indexOf('<svg')) + 1, icon.lastIndexOf('</svg>')).replace(/\s*\n\s*/g, '');
  console.log(`<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round">${shapes}</symbol>`);
}
console.log('</svg>');
