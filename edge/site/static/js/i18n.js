// Every text of the pages, in both languages, and the one place that knows which language is shown.
import { local } from './storage.js';

const TEXTS = {
  zh: {
    'site.name': '智慧教育',
    'site.tagline': '中小学课程 · 就近播放',
    'site.footer': '课程由离你最近的边缘节点播放，每一次观看都被准确计数。',
    'skip': '跳到主要内容',
    'nav.main': '主导航',
    'nav.home': '首页',
    'nav.board': '数据看板',
    'language.switch': 'Switch to English',
    'language.short': 'EN',
    'theme.auto': '外观：跟随系统',
    'theme.light': '外观：浅色',
    'theme.dark': '外观：深色',

    'portal.title': '首页',
    'portal.headline': '好课，就在身边',
    'portal.lead': '六个栏目的精选课程，打开就能看。讲义、任务单、习题与视频放在一起，下次接着上次的进度学。',
    'portal.sections': '栏目',
    'portal.figures': '平台数据',
    'portal.lessons': '课程',
    'portal.views': '累计观看',
    'portal.today': '今日观看',
    'portal.preparing': '正在准备中',
    'portal.preparing.hint': '课程发布后会自动出现在这里',
    'portal.preparing.all': '正在发布课程：已完成 {done} / {all} 个栏目，页面会自动更新',
    'portal.unreachable': '暂时读不到课程目录，正在重试…',
    'portal.more': '更多课程',
    'portal.count': '{n} 课',
    'portal.fresh': '「{title}」已可以观看',

    'card.views': '{n} 次观看',
    'card.length': '时长 {t}',
    'card.seen': '已看 {p}%',

    'lesson.loading': '正在打开课程…',
    'lesson.preparing': '课程还在准备中，就绪后会自动打开',
    'lesson.unavailable': '这节课暂时打不开',
    'lesson.unavailable.hint': '可能是网络中断，或课程刚被移走。请重试，或回到首页选择其他课程。',
    'lesson.retry': '重试',
    'lesson.home': '回到首页',
    'lesson.path': '当前位置',
    'lesson.documents': '课程资料',
    'lesson.documents.none': '这节课没有附带资料',
    'lesson.related': '同栏目课程',
    'lesson.others': '其他栏目课程',
    'lesson.about': '课程介绍',
    'lesson.school': '学校',
    'lesson.teacher': '主讲教师',
    'lesson.duration': '时长',
    'lesson.updated': '更新',
    'lesson.download': '下载',

    'role.courseware': '课件',
    'role.lesson-plan': '教学设计',
    'role.task-sheet': '学习任务单',
    'role.exercises': '课后练习',
    'role.other': '资料',

    'player.region': '课程播放器',
    'player.controls': '播放控制',
    'player.play': '播放',
    'player.pause': '暂停',
    'player.replay': '重新播放',
    'player.seek': '播放进度',
    'player.position': '{t}，共 {d}',
    'player.mute': '静音',
    'player.unmute': '取消静音',
    'player.volume': '音量',
    'player.volume.at': '音量 {n}%',
    'player.muted': '已静音',
    'player.captions': '字幕',
    'player.captions.on': '字幕：{name}',
    'player.captions.off': '字幕：关',
    'player.captions.none': '这节课没有字幕',
    'player.off': '关',
    'player.speed': '播放速度',
    'player.speed.normal': '正常',
    'player.quality': '清晰度',
    'player.auto': '自动',
    'player.fullscreen': '全屏',
    'player.fullscreen.exit': '退出全屏',
    'player.pip': '画中画',
    'player.help': '键盘快捷键',
    'player.close': '关闭',
    'player.buffering': '正在缓冲',
    'player.resumed': '已从上次的 {t} 继续',
    'player.restart': '从头播放',
    'player.dismiss': '知道了',
    'player.back': '后退 {n} 秒',
    'player.forward': '前进 {n} 秒',
    'player.jump': '跳到 {t}',
    'player.error.title': '视频播放不了',
    'player.error.network': '网络中断或服务器没有回应。检查网络后重试，会从刚才的位置继续。',
    'player.error.media': '浏览器解不开这段视频。请重试，或换一个清晰度。',
    'player.error.unsupported': '这个浏览器不支持播放这种视频，请换用新版浏览器。',
    'player.error.missing': '播放组件 hls.js 没有安装：请在服务器上运行 make install，然后刷新页面。',
    'player.retry': '重试',
    'player.noscript': '播放课程需要启用 JavaScript。',

    'key.play': '播放 / 暂停',
    'key.seek5': '后退 / 前进 5 秒',
    'key.seek10': '后退 / 前进 10 秒',
    'key.volume': '调节音量',
    'key.mute': '静音',
    'key.fullscreen': '全屏',
    'key.captions': '字幕',
    'key.speed': '减速 / 加速',
    'key.jump': '跳到 0% – 90%',
    'key.help': '显示本页帮助',
    'key.space': '空格',

    'docs.headline': '接口说明',
    'docs.lead': '每一个被接受的观看事件只计一次，约一秒后可读。时间为 ISO 8601，日期按北京时间（UTC+8）。',
    'docs.file': 'OpenAPI 3.1，可导入任何工具',

    'board.title': '数据看板',
    'board.headline': '数据看板',
    'board.lead': '观看事件在边缘节点落盘、汇总，约一秒后就能在这里读到。',
    'board.figures': '汇总数据',
    'board.views': '累计观看',
    'board.views_today': '今日观看',
    'board.views_daily_average': '日均观看',
    'board.views_daily_peak': '单日最高',
    'board.plays': '播放次数',
    'board.watch': '观看时长',
    'board.visits': '访问次数',
    'board.uniques': '观看人数（估计）',
    'board.resources': '有观看的课程',
    'board.provinces': '覆盖省份',
    'board.countries': '{n} 个国家和地区',
    'board.day': '今日观看，每五分钟',
    'board.day.note': '按事件发生的时间（北京时间）；迟到的事件计入它自己的那一分钟',
    'board.day.sum': '今日共 {n} 次',
    'board.day.point': '{from}–{to}：{n} 次',
    'board.ranked': '各省观看',
    'board.ranked.note': '累计 · 今日',
    'board.provinces.silent': '其余 {n} 个省份还没有数据',
    'board.late': '截至 {t}',
    'board.docs': '接口说明',
    'board.closed': '读取计数需要令牌',
    'board.token': '读取计数需要令牌',
    'board.token.use': '使用',
    'board.lessons': '各课程观看',
    'board.lessons.note': '按观看次数排列，最多 {n} 课',
    'board.lessons.none': '还没有课程。发布后会自动出现在这里。',
    'board.lesson': '课程',
    'board.section': '栏目',
    'board.complete': '截至 {t} 的事件已全部计入',
    'board.as_of': '更新于 {t}',
    'board.stale': '计数暂时读不到，下面是 {t} 的数据',
    'board.unreachable': '计数暂时读不到，正在重试…',

    'missing.title': '没有这节课',
    'missing.headline': '没有找到这节课',
    'missing.lead': '链接可能写错了，或者课程还没有发布。',

    'unit.hours': '{n} 小时',
    'unit.minutes': '{n} 分钟',
    'unit.seconds': '{n} 秒',
  },
  en: {
    'site.name': 'Smart Education',
    'site.tagline': 'School lessons, played close by',
    'site.footer': 'Lessons play from the edge node nearest to you, and every view is counted exactly.',
    'skip': 'Skip to the main content',
    'nav.main': 'Main',
    'nav.home': 'Home',
    'nav.board': 'Figures',
    'language.switch': '切换到中文',
    'language.short': '中文',
    'theme.auto': 'Appearance: as the system',
    'theme.light': 'Appearance: light',
    'theme.dark': 'Appearance: dark',

    'portal.title': 'Home',
    'portal.headline': 'Good lessons, close by',
    'portal.lead': 'Selected lessons in six sections, ready to watch. Slides, task sheets and exercises sit beside the video, and you go on where you stopped.',
    'portal.sections': 'Sections',
    'portal.figures': 'Figures',
    'portal.lessons': 'lessons',
    'portal.views': 'views',
    'portal.today': 'views today',
    'portal.preparing': 'Being prepared',
    'portal.preparing.hint': 'Lessons appear here by themselves once published',
    'portal.preparing.all': 'Publishing lessons: {done} of {all} sections done. This page updates by itself.',
    'portal.unreachable': 'The catalog can’t be read right now, trying again…',
    'portal.more': 'More lessons',
    'portal.count': { one: '{n} lesson', other: '{n} lessons' },
    'portal.fresh': '“{title}” can be watched now',

    'card.views': { one: '{n} view', other: '{n} views' },
    'card.length': 'Length {t}',
    'card.seen': '{p}% watched',

    'lesson.loading': 'Opening the lesson…',
    'lesson.preparing': 'This lesson is being prepared and opens by itself when it is ready',
    'lesson.unavailable': 'This lesson can’t be opened right now',
    'lesson.unavailable.hint': 'The network may be down, or the lesson has just been moved. Try again, or choose another lesson on the home page.',
    'lesson.retry': 'Try again',
    'lesson.home': 'Back to the home page',
    'lesson.path': 'You are here',
    'lesson.documents': 'Lesson documents',
    'lesson.documents.none': 'This lesson comes without documents',
    'lesson.related': 'More in this section',
    'lesson.others': 'From the other sections',
    'lesson.about': 'About this lesson',
    'lesson.school': 'School',
    'lesson.teacher': 'Teacher',
    'lesson.duration': 'Length',
    'lesson.updated': 'Updated',
    'lesson.download': 'Download',

    'role.courseware': 'Courseware',
    'role.lesson-plan': 'Lesson plan',
    'role.task-sheet': 'Task sheet',
    'role.exercises': 'Exercises',
    'role.other': 'Document',

    'player.region': 'Lesson player',
    'player.controls': 'Player controls',
    'player.play': 'Play',
    'player.pause': 'Pause',
    'player.replay': 'Play again',
    'player.seek': 'Position',
    'player.position': '{t} of {d}',
    'player.mute': 'Mute',
    'player.unmute': 'Unmute',
    'player.volume': 'Volume',
    'player.volume.at': 'Volume {n}%',
    'player.muted': 'Muted',
    'player.captions': 'Captions',
    'player.captions.on': 'Captions: {name}',
    'player.captions.off': 'Captions off',
    'player.captions.none': 'This lesson has no captions',
    'player.off': 'Off',
    'player.speed': 'Speed',
    'player.speed.normal': 'Normal',
    'player.quality': 'Quality',
    'player.auto': 'Auto',
    'player.fullscreen': 'Full screen',
    'player.fullscreen.exit': 'Leave full screen',
    'player.pip': 'Picture in picture',
    'player.help': 'Keyboard shortcuts',
    'player.close': 'Close',
    'player.buffering': 'Buffering',
    'player.resumed': 'Resumed at {t}',
    'player.restart': 'From the start',
    'player.dismiss': 'Dismiss',
    'player.back': 'Back {n} s',
    'player.forward': 'Forward {n} s',
    'player.jump': 'To {t}',
    'player.error.title': 'The video does not play',
    'player.error.network': 'The network is down or the server does not answer. Check the connection and try again: it goes on where it stopped.',
    'player.error.media': 'The browser can’t decode this video. Try again, or choose another quality.',
    'player.error.unsupported': 'This browser can’t play this kind of video. Please use a current one.',
    'player.error.missing': 'The playback library hls.js is not installed: run make install on the server, then reload this page.',
    'player.retry': 'Try again',
    'player.noscript': 'Lessons need JavaScript to play.',

    'key.play': 'Play / pause',
    'key.seek5': 'Back / forward 5 s',
    'key.seek10': 'Back / forward 10 s',
    'key.volume': 'Volume',
    'key.mute': 'Mute',
    'key.fullscreen': 'Full screen',
    'key.captions': 'Captions',
    'key.speed': 'Slower / faster',
    'key.jump': 'Jump to 0% – 90%',
    'key.help': 'This help',
    'key.space': 'Space',

    'docs.headline': 'Interface',
    'docs.lead': 'Every accepted view event is counted once, and can be read about a second later. Times are ISO 8601, days are of UTC+8.',
    'docs.file': 'OpenAPI 3.1, for any tool',

    'board.title': 'Figures',
    'board.headline': 'Figures',
    'board.lead': 'View events are written to disk at the edge, added up, and can be read here about a second later.',
    'board.figures': 'Totals',
    'board.views': 'Views',
    'board.views_today': 'Views today',
    'board.views_daily_average': 'Views a day, average',
    'board.views_daily_peak': 'Views a day, highest',
    'board.plays': 'Plays',
    'board.watch': 'Time watched',
    'board.visits': 'Visits',
    'board.uniques': 'Viewers (estimate)',
    'board.resources': 'Lessons viewed',
    'board.provinces': 'Provinces',
    'board.countries': { one: '{n} country', other: '{n} countries' },
    'board.day': 'Views today, by five minutes',
    'board.day.note': 'By the time of the event (UTC+8); late events land in their own minute',
    'board.day.sum': { one: '{n} view today', other: '{n} views today' },
    'board.day.point': '{from}–{to}: {n}',
    'board.ranked': 'Views by province',
    'board.ranked.note': 'in all · today',
    'board.provinces.silent': { one: '{n} more province without data yet', other: '{n} more provinces without data yet' },
    'board.late': 'up to {t}',
    'board.docs': 'Interface',
    'board.closed': 'Reading counts needs a token',
    'board.token': 'Reading counts needs a token',
    'board.token.use': 'Use it',
    'board.lessons': 'Views by lesson',
    'board.lessons.note': 'Most viewed first, at most {n} lessons',
    'board.lessons.none': 'No lessons yet. They appear here by themselves once published.',
    'board.lesson': 'Lesson',
    'board.section': 'Section',
    'board.complete': 'All events up to {t} are counted',
    'board.as_of': 'Updated {t}',
    'board.stale': 'Counts can’t be read right now; these are from {t}',
    'board.unreachable': 'Counts can’t be read right now, trying again…',

    'missing.title': 'No such lesson',
    'missing.headline': 'There is no such lesson',
    'missing.lead': 'The link may be wrong, or the lesson is not published yet.',

    'unit.hours': '{n} h',
    'unit.minutes': '{n} min',
    'unit.seconds': '{n} s',
  },
};

const KEY = 'smartedu.lang';
const TAGS = { zh: 'zh-CN', en: 'en' };
const listeners = new Set();

const known = (value) => (Object.hasOwn(TEXTS, value ?? '') ? value : null);

function chosen() {
  const asked = known(new URLSearchParams(location.search).get('lang'));
  if (asked) local.set(KEY, asked);
  return asked ?? known(local.get(KEY)) ?? 'zh';
}

let current = chosen();
let plural = new Intl.PluralRules(TAGS[current]);

export const language = () => current;
export const locale = () => TAGS[current];

/** The text under `key`, with `{names}` replaced. `n` also chooses between singular and plural where the language has them. */
export function t(key, values = {}) {
  let text = TEXTS[current][key] ?? TEXTS.zh[key] ?? key;
  if (typeof text === 'object') text = text[plural.select(Number(values.count ?? values.n ?? 0))] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The catalog's own texts: `{zh, en}`, either of which may be missing. */
export const pick = (texts) => texts?.[current] || texts?.zh || texts?.en || '';

export function setLanguage(next) {
  if (!known(next) || next === current) return;
  current = next;
  plural = new Intl.PluralRules(TAGS[next]);
  local.set(KEY, next);
  const url = new URL(location.href);
  if (url.searchParams.has('lang')) {
    url.searchParams.set('lang', next);
    history.replaceState(history.state, '', url);
  }
  translate();
  for (const listener of listeners) listener(next);
}

/** Calls `listener` now and after every change of language. */
export function onLanguage(listener) {
  listeners.add(listener);
  listener(current);
}

/** Puts the current language into the page's own markup: data-i18n="key", data-i18n-<attribute>="key". */
export function translate(root = document) {
  document.documentElement.lang = TAGS[current];
  for (const node of root.querySelectorAll('[data-i18n]')) node.textContent = t(node.dataset.i18n);
  for (const attribute of ['aria-label', 'title', 'content']) {
    for (const node of root.querySelectorAll(`[data-i18n-${attribute}]`)) {
      node.setAttribute(attribute, t(node.getAttribute(`data-i18n-${attribute}`)));
    }
  }
  delete document.documentElement.dataset.pending;
}
