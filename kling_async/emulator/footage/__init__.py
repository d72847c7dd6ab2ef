"""Media files that stand in for generated results: MP4 films, PNG pictures, MP3 and WAV tunes, subtitles.

One of the two lowest storeys: it imports nothing of the emulator outside this folder. From outside:
`files.MediaOwner`, by which ``state`` and ``calls`` describe the owner of files, `files.render_file`, by
which ``http`` gets the bytes that it sends, and the aspect ratios of `shapes`. An owner and a file name go
in, bytes come out. Every byte follows from a seed, so that equal seeds give equal files on every machine. A
film is drawn block by block (`canvas`, `scenes`, `captions`), encoded (`h264`, `cavlc`) and put into boxes
(`clips`, `tracks`, `soundtracks`, `boxes`). A scene takes about 0.1 s to draw and serves many films, so some
are cached; with its scene there, a film takes 2 ms.
"""
