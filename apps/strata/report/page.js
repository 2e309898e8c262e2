// The values under the pointer, read back from the lines themselves. The page says all of it without, in its tables.
for (const svg of document.querySelectorAll('svg[data-steps]')) {
    const frame = svg.parentElement;
    const [firstStep, lastStep] = svg.dataset.steps.split(' ').map(Number);
    const [lowText, highText, kind] = svg.dataset.values.split(' ');
    const low = Number(lowText), high = Number(highText), {width, height} = svg.viewBox.baseVal;
    const valueAt = y => {
        const share = 1 - y / height;
        return kind === 'log' ? low * (high / low) ** share : low + (high - low) * share;
    };
    const shown = value => Number(value.toPrecision(3)).toString();
    let lines, cross, tip;

    const readLines = () => [...svg.querySelectorAll('path[data-name]')].map(
        path => ({
            name: path.dataset.name,
            ink: path.classList[1],
            points: path.getAttribute('d').split(/[ML]/).slice(1).map(
                text => text.replace('h0', '').split(' ').map(Number)),
        }));
    const nearest = (points, x) =>
        points.reduce((best, point) => Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best);
    const leave = () => {
        cross?.remove();
        tip?.remove();
        cross = tip = undefined;
    };

    frame.addEventListener('pointerleave', leave);
    frame.addEventListener('pointermove', event => {
        lines ??= readLines();
        if (!lines.length) return;
        const box = frame.getBoundingClientRect();
        const x = (event.clientX - box.left) / box.width * width, y = (event.clientY - box.top) / box.height * height;
        const found = lines.map(line => ({...line, at: nearest(line.points, x)}))
                          .filter(line => Math.abs(line.at[0] - x) < width / 15)
                          .sort((a, b) => Math.abs(a.at[1] - y) - Math.abs(b.at[1] - y))
                          .slice(0, 10)
                          .sort((a, b) => a.at[1] - b.at[1]);
        leave();
        if (!found.length) return;
        const at = nearest(found.map(line => line.at), x)[0];
        cross = document.createElement('div');
        cross.className = 'cross';
        cross.style.left = `${at / width * 100}%`;
        tip = document.createElement('div');
        tip.className = 'tip';
        const say = (text, ink) => {
            const row = document.createElement('p');
            row.textContent = text;
            if (ink) row.className = `rule ${ink}`;
            tip.append(row);
        };
        say(`update ${Math.round(firstStep + at / width * (lastStep - firstStep)).toLocaleString('en')}`);
        for (const line of found) say(`${line.name} ${shown(valueAt(line.at[1]))}`, line.ink);
        frame.append(cross, tip);
        const room = tip.offsetWidth + 12, left = at / width * box.width;
        tip.style.left = `${left + room > box.width ? Math.max(left - room, -40) : left + 12}px`;
        tip.style.top = '4px';
    });
}
