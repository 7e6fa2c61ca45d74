"""The parts of one worker, each put together from the settings; `edge.app` puts the parts together."""
