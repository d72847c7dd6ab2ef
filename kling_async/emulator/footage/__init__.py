"""Media files that stand in for generated results: MP4 clips, PNG pictures, MP3 and WAV tunes.

One of the two lowest storeys: it imports nothing of the emulator outside this folder. From outside:
`files.MediaOwner`, by which ``state`` and ``calls`` describe the owner of files, `files.render_file`, by
which ``http`` gets the bytes that it sends, and the aspect ratios of `shapes`. An owner and a file name go
in, bytes come out; nothing is stored. Every byte follows from a seed, so that equal seeds give equal files
on every machine. The three MP4 clips beside the modules are package data.
"""
