"""Draw docs/images/web-demo.png, the demo in the browser after a lesson: python docs/web_picture.py (extra "browser", a Chromium)."""

import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from mtslvr.encoder.model import MTSLVR
from mtslvr.web.page import launch, page

OUT = Path(__file__).parent / "images" / "web-demo.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.environ["GRADIO_TEMP_DIR"] = folder
        blocks = page(MTSLVR.from_pretrained(), Path(folder))
        address = launch(blocks)
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        microphone = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *microphone])
        tab = browser.new_page(viewport={"width": 1240, "height": 900})
        tab.goto(address)
        tab.get_by_role("button", name="Load the demo's sounds").click()
        tab.get_by_text("of 20 sounds are named right").wait_for()
        tab.get_by_role("button", name="thunder", exact=True).click()
        tab.get_by_test_id("label-output-value").wait_for()
        tab.wait_for_timeout(1500)  # until what moves stands still
        picture = Image.open(io.BytesIO(tab.screenshot(full_page=True)))
        picture.quantize(128).save(OUT, optimize=True)  # a third of the size
        browser.close()
        blocks.close()


if __name__ == "__main__":
    main()
