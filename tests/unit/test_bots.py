"""Which User-Agents say that they are bots: crawlers and robots do, browsers and applications do not."""

from __future__ import annotations

import pytest

from edge.counters.bots import is_declared

BROWSERS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Linux; Android 14; V2309A) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.188 "
    "Mobile Safari/537.36 XWEB/1260183 MMWEBSDK/20240404 MicroMessenger/8.0.49.2600(0x28003133) WeChat/arm64 "
    "Weixin NetType/WIFI Language/zh_CN ABI/arm64",
    "Mozilla/5.0 (Linux; U; Android 13; zh-cn; M2102J2SC) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
    "Chrome/109.0.5414.118 Mobile Safari/537.36 XiaoMi/MiuiBrowser/18.2",
    "Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 "
    "ArkWeb/4.1.6.1 Mobile HuaweiBrowser/5.1.0",
    "Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/108.0.5359.95 Safari/537.36 "
    "QQBrowser/12.0",
    "Mozilla/5.0 (Linux; Android 12; HarmonyOS) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/97.0 Mobile "
    "Safari/537.36 T7/13.45 SP-engine/2.83.0 baiduboxapp/13.45.0.10 (Baidu; P1 12) NABar/1.0",
    "Mozilla/5.0 (Linux; U; Android 12; zh-CN) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/100.0.4896.58 "
    "Quark/6.9.8.450 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36 Chrome/126 Mobile Safari/537.36 AliApp(DingTalk/7.6.0) "
    "com.alibaba.android.rimet/33333 Channel/227200 language/zh-CN",
    "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/86.0.4240.198 Safari/537.36 SE 2.X "
    "MetaSr 1.0",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_NOTE_S) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131 Mobile Safari",
]
APPLICATIONS = [
    "okhttp/4.12.0",
    "SmartEdu/3.2 CFNetwork/1568.200.51 Darwin/24.1.0",
    "Dart/3.5 (dart:io)",
    "Python/3.11 aiohttp/3.14.5",
    "Go-http-client/2.0",
    "curl/8.11.0",
    "",
]
BOTS = [
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
    "Mozilla/5.0 (compatible; Bytespider; spider-feedback@bytedance.com)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot",
    "a-robot-nobody-has-listed-yet-bot/0.1",
    "my own crawler",
]


@pytest.mark.parametrize("user_agent", BROWSERS + APPLICATIONS)
def test_people_are_no_bots_whatever_they_read_with(user_agent: str) -> None:
    assert not is_declared(user_agent)


@pytest.mark.parametrize("user_agent", BOTS)
def test_a_bot_that_says_so_is_one(user_agent: str) -> None:
    assert is_declared(user_agent)


def test_only_the_beginning_of_a_long_name_is_searched() -> None:
    assert not is_declared("x" * 256 + " Googlebot/2.1")
    assert is_declared("x" * 200 + " Googlebot/2.1")
