// A page with nothing of its own but the masthead.
import { onLanguage, t } from './i18n.js';
import { masthead } from './masthead.js';

masthead();
onLanguage(() => (document.title = `${t('missing.title')} · ${t('site.name')}`));
